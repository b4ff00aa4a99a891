//! The queue of a session in a snapshot.

use super::{Messages, Presence, Queue, QueueForm, QueueForms, Ref, UsedForm};
use crate::RestoreError;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

#[derive(Serialize, Deserialize)]
pub(crate) struct QueueImage<'a> {
    begun: Cow<'a, [Ref]>,
    waiting: Vec<Ref>,
    /// By place. One that is free has the form of nothing.
    forms: Vec<Cow<'a, QueueForm>>,
}

impl Queue {
    pub(crate) fn snapshot(&self) -> QueueImage<'_> {
        let Queue {
            begun,
            waiting,
            forms:
                QueueForms {
                    places: forms,
                    cost: _, // follows from the forms
                },
            begun_bytes: _, // follow from the messages
            waiting_bytes: _,
            oldest: _,
            presence: _, // that of the session
        } = self;
        let mut images = Vec::with_capacity(forms.len());
        for used in forms {
            let UsedForm {
                form,
                references: _, // follow from the queue
            } = used;
            images.push(Cow::Borrowed(form));
        }
        QueueImage {
            begun: Cow::Borrowed(begun),
            waiting: waiting.iter().copied().collect(),
            forms: images,
        }
    }

    /// The queue of a session. Adds its references to the messages.
    pub(crate) fn restore(
        image: QueueImage<'_>,
        presence: Presence,
        messages: &mut Messages,
    ) -> Result<Self, RestoreError> {
        let QueueImage {
            begun,
            waiting,
            forms,
        } = image;
        let damaged = RestoreError::Damaged("a queue is not valid");
        let form = |form: Cow<'_, QueueForm>| UsedForm {
            form: form.into_owned(),
            references: 0,
        };
        let mut forms: Vec<_> = forms.into_iter().map(form).collect();
        for reference in begun.iter().chain(&waiting) {
            if messages.get(reference.number()).is_none() {
                return Err(damaged);
            }
            if let Some(place) = usize::from(reference.form()).checked_sub(1) {
                let used = forms.get_mut(place).ok_or(damaged.clone())?;
                used.references += 1;
            }
            messages.add_reference(reference.number(), presence);
        }
        let ascend = |refs: &[Ref]| refs.is_sorted_by(|a, b| a.number() < b.number());
        let is_valid =
            |used: &UsedForm| (used.references == 0) == (used.form == QueueForm::default());
        let is_empty = begun.is_empty() && waiting.is_empty();
        let last_is_used = forms.last().is_none_or(|used| used.references > 0);
        if is_empty
            || !ascend(&begun)
            || !ascend(&waiting)
            || !last_is_used
            || !forms.iter().all(is_valid)
        {
            return Err(damaged);
        }
        let used = forms.iter().filter(|used| used.references > 0);
        let mut queue = Queue {
            begun: begun.into_owned(),
            waiting: waiting.into(),
            forms: QueueForms {
                cost: used.map(UsedForm::cost).sum(),
                places: forms,
            },
            ..Queue::new(presence)
        };
        queue.count_bytes(messages);
        Ok(queue)
    }
}
