#![allow(clippy::unwrap_used, clippy::cast_possible_truncation)]
use super::super::messages::tests::stored;
use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

const LIMITS: QueueLimits = QueueLimits {
    messages: 6,
    bytes: 200,
    age: 50,
};

/// A table, the time, and what was dropped.
#[derive(Default)]
struct Scene {
    messages: Messages,
    now: u64,
    dropped: Vec<(DropReason, u64)>,
}

impl Scene {
    fn with<T>(&mut self, act: impl FnOnce(&mut QueueContext<'_>) -> T) -> T {
        let dropped = &mut self.dropped;
        act(&mut QueueContext {
            messages: &mut self.messages,
            limits: LIMITS,
            now: self.now,
            dropped: &mut |reason, message| dropped.push((reason, message.at)),
        })
    }

    /// Publishes a message of this size, at this time, to queues.
    fn publish(&mut self, queues: &mut [&mut Queue], payload: usize, form: &QueueForm) -> u64 {
        let message = stored(self.now, payload);
        let number = self.messages.open(message);
        let new = Ref::new(number, QoS::AtLeastOnce, false);
        for queue in queues {
            self.with(|cx| queue.push(new, form, cx));
        }
        self.messages.close();
        number.0
    }

    fn disconnect(&mut self, queue: &mut Queue, sent: u64) {
        self.with(|cx| queue.disconnected(MessageNo(sent), cx));
    }
}

fn waiting(queue: &Queue, after: u64) -> Vec<u64> {
    queue
        .waiting(MessageNo(after))
        .map(|r| r.number().0)
        .collect()
}

fn done(up_to: u64, also: &[u64]) -> Done {
    Done {
        up_to: MessageNo(up_to),
        also: also.iter().copied().collect(),
    }
}

fn form(id: u32) -> QueueForm {
    QueueForm {
        ids: vec![id],
        mount: None,
    }
}

proptest! {
    #[test]
    fn a_reference_holds_what_it_was_made_of(
        number in 0..1_u64 << 48, qos in 0..3_u8, retain: bool, form in 0..=LAST_FORM,
    ) {
        let qos = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce][usize::from(qos)];
        let reference = Ref::new(MessageNo(number), qos, retain).with_form(7).with_form(form);
        prop_assert_eq!(reference.number(), MessageNo(number));
        prop_assert_eq!((reference.qos(), reference.retain(), reference.form()), (qos, retain, form));
    }
}

#[test]
fn ten_thousand_queues_of_a_hundred_references_take_ten_megabytes() {
    assert_eq!((size_of::<Ref>(), size_of::<Queue>()), (8, 120));
    let mut scene = Scene::default();
    let mut queues = vec![Queue::new(Presence::Connected); 10_000];
    let mut all: Vec<&mut Queue> = queues.iter_mut().collect();
    for _ in 0..100 {
        scene.publish(&mut all, 1, &QueueForm::default());
    }
    let references: usize = queues.iter().map(|q| q.waiting.capacity() * 8).sum();
    assert_eq!(references, 10_240_000);
    assert_eq!(scene.messages.count(), 100);
    for queue in &mut queues {
        queue.done(&done(95, &[]), &mut scene.messages);
        assert!(queue.waiting.capacity() <= 8);
    }
    for queue in queues {
        queue.end(&mut scene.messages);
    }
    assert_eq!(scene.messages.count(), 0);
}

#[test]
fn an_offline_session_loses_only_the_oldest_that_was_not_sent() {
    let (mut scene, mut queue) = (Scene::default(), Queue::default());
    for _ in 0..8 {
        scene.now += 1;
        scene.publish(&mut [&mut queue], 1, &QueueForm::default());
    }
    scene.disconnect(&mut queue, 3);
    assert_eq!(
        (queue.begun.len(), waiting(&queue, 0)),
        (3, vec![4, 5, 6, 7, 8])
    );
    for _ in 0..3 {
        scene.now += 1;
        scene.publish(&mut [&mut queue], 1, &QueueForm::default());
    }
    assert_eq!(waiting(&queue, 0), [6, 7, 8, 9, 10, 11]);
    let full = DropReason::QueueFull;
    assert_eq!(scene.dropped, [(full, 4), (full, 5)]);
    assert_eq!(queue.len(), 3 + 6);
    // Its client has acknowledged 1 to 3 before, which is heard of now; and again.
    for _ in 0..2 {
        queue.done(&done(3, &[5, 7]), &mut scene.messages);
        assert_eq!(
            (queue.begun.len(), waiting(&queue, 8)),
            (0, vec![9, 10, 11])
        );
        assert_eq!(waiting(&queue, 0), [6, 8, 9, 10, 11]);
    }
}

#[test]
fn too_old_goes_first_and_too_large_is_not_kept() {
    let (mut scene, mut queue) = (Scene::default(), Queue::new(Presence::Offline));
    scene.publish(&mut [&mut queue], 1, &QueueForm::default());
    scene.now = 51;
    scene.publish(&mut [&mut queue], 100, &QueueForm::default());
    assert_eq!(scene.dropped, [(DropReason::TooOld, 0)]);
    assert_eq!(waiting(&queue, 0), [2]);
    scene.now = 52;
    scene.publish(&mut [&mut queue], 500, &QueueForm::default());
    assert_eq!(scene.dropped[1..], [(DropReason::QueueFull, 52)]);
    assert_eq!(waiting(&queue, 0), [2], "nothing is dropped for it");
    assert_eq!(
        scene.publish(&mut [&mut queue], 100, &QueueForm::default()),
        4
    );
    assert_eq!(
        scene.dropped[2..],
        [(DropReason::QueueFull, 51)],
        "200 bytes"
    );
    assert_eq!(waiting(&queue, 0), [4]);
}

#[test]
fn a_purge_counts_what_was_not_sent() {
    let (mut scene, mut queue) = (Scene::default(), Queue::default());
    for _ in 0..4 {
        scene.now += 1;
        scene.publish(&mut [&mut queue], 1, &QueueForm::default());
    }
    scene.disconnect(&mut queue, 2);
    scene.with(|cx| queue.purge(cx, |message| message.at % 2 == 0));
    assert_eq!(scene.dropped, [(DropReason::Forbidden, 3)]);
    assert_eq!((queue.len(), waiting(&queue, 0)), (2, vec![4]));
}

#[test]
fn forms_are_used_again() {
    let (mut scene, mut queue) = (Scene::default(), Queue::default());
    for id in [5, 6, 5, 7] {
        scene.publish(&mut [&mut queue], 1, &form(id));
    }
    scene.publish(&mut [&mut queue], 1, &QueueForm::default());
    let forms = |queue: &Queue| -> Vec<Option<u32>> {
        let all = queue.waiting(MessageNo::NONE);
        all.map(|r| queue.form(r).map(|f| f.ids[0])).collect()
    };
    assert_eq!(forms(&queue), [Some(5), Some(6), Some(5), Some(7), None]);
    assert_eq!(queue.forms.places.len(), 3);
    queue.done(&done(2, &[]), &mut scene.messages);
    scene.publish(&mut [&mut queue], 1, &form(8));
    assert_eq!(forms(&queue), [Some(5), Some(7), None, Some(8)]);
    assert_eq!(queue.forms.places.len(), 3, "8 has the place of 6");
    queue.done(&done(100, &[]), &mut scene.messages);
    assert_eq!(queue, Queue::default());
}

/// They are a part of each packet, and of the memory of the queue.
#[test]
fn identifiers_count() {
    let (mut scene, mut queue) = (Scene::default(), Queue::new(Presence::Offline));
    let many = |first: u32, n: u32| QueueForm {
        ids: (first..first + n).collect(),
        mount: None,
    };
    scene.publish(&mut [&mut queue], 1, &many(0, 10));
    scene.publish(&mut [&mut queue], 1, &many(0, 10));
    let one = stored(0, 1).len() + 40;
    let references = |ids: usize| (FORM_COST + 4 * ids).div_ceil(REF_COST);
    assert_eq!(
        (queue.bytes(), queue.references()),
        (2 * one, 2 + references(10))
    );
    scene.publish(&mut [&mut queue], 1, &many(1, 34));
    assert_eq!(waiting(&queue, 0), [2, 3], "of 200 bytes");
    scene.publish(&mut [&mut queue], 1, &many(2, 50));
    assert_eq!(waiting(&queue, 0), [2, 3], "too large alone");
    queue.done(&done(2, &[]), &mut scene.messages);
    assert_eq!(queue.references(), 1 + references(34));
    queue.done(&done(3, &[]), &mut scene.messages);
    assert_eq!((queue.bytes(), queue.references()), (0, 0));
}

#[test]
fn a_message_is_not_kept_if_all_forms_are_in_use() {
    let mut forms = QueueForms::default();
    let used = |n| UsedForm {
        form: form(n),
        references: 1,
    };
    forms.places = (0..u32::from(LAST_FORM)).map(used).collect();
    forms.cost = forms.places.iter().map(UsedForm::cost).sum();
    assert_eq!(forms.add(&form(LAST_FORM.into())), None);
    assert_eq!(forms.add(&form(0)), Some(1));
    forms.release(2);
    assert_eq!(forms.add(&form(LAST_FORM.into())), Some(2));
}

/// One session, plainly.
#[derive(Debug, Default)]
struct Model {
    all: Vec<Plain>,
    offline: bool,
}

#[derive(Debug, Clone)]
struct Plain {
    number: u64,
    at: u64,
    len: u64,
    id: u32,
    begun: bool,
}

impl Model {
    fn publish(&mut self, new: Plain, now: u64, lost: &mut Vec<(DropReason, u64)>) {
        if self.offline {
            if new.len > LIMITS.bytes {
                return lost.push((DropReason::QueueFull, new.at));
            }
            self.trim(1, new.len, now, lost);
        }
        self.all.push(new);
    }

    fn trim(&mut self, messages: usize, len: u64, now: u64, lost: &mut Vec<(DropReason, u64)>) {
        loop {
            let waiting: Vec<&Plain> = self.all.iter().filter(|p| !p.begun).collect();
            let bytes: u64 = waiting.iter().map(|p| p.len).sum();
            let Some(oldest) = waiting.first() else {
                return;
            };
            let full = waiting.len() + messages > LIMITS.messages || bytes + len > LIMITS.bytes;
            let reason = match now - oldest.at > LIMITS.age {
                true => DropReason::TooOld,
                false if full => DropReason::QueueFull,
                false => return,
            };
            let (number, at) = (oldest.number, oldest.at);
            lost.push((reason, at));
            self.all.retain(|p| p.number != number);
        }
    }
}

proptest! {
    /// Three sessions against plain lists.
    #[test]
    fn queues_are_what_should_wait(
        steps in prop::collection::vec(
            (0..9_u8, 0..3_usize, any::<prop::sample::Index>(), 1..60_usize), 0..120,
        ),
    ) {
        let mut scene = Scene::default();
        let mut queues = vec![Queue::default(); 3];
        let mut models: Vec<Model> = (0..3).map(|_| Model::default()).collect();
        let mut lost = Vec::new();
        for (step, who, which, payload) in steps {
            scene.now += payload as u64 / 10;
            let now = scene.now;
            let (queue, model) = (&mut queues[who], &mut models[who]);
            match step {
                0..=3 => {
                    let (id, payload) = (which.index(3) as u32, payload * (1 + which.index(5)));
                    let form = if id == 0 { QueueForm::default() } else { form(id) };
                    let to: Vec<usize> = (0..3).filter(|n| which.index(8) >> n & 1 == 1).collect();
                    let len = stored(0, payload).len() + form.len() as u64;
                    let mut targets: Vec<&mut Queue> = Vec::new();
                    for (n, queue) in queues.iter_mut().enumerate() {
                        if to.contains(&n) {
                            targets.push(queue);
                        }
                    }
                    let number = scene.publish(&mut targets, payload, &form);
                    for n in to {
                        let new = Plain { number, at: now, len, id, begun: false };
                        models[n].publish(new, now, &mut lost);
                    }
                }
                4 if !model.offline => {
                    let sent = which.index(model.all.len() + 1);
                    let sent = sent.checked_sub(1).map_or(0, |at| model.all[at].number);
                    scene.disconnect(queue, sent);
                    model.offline = true;
                    model.all.iter_mut().for_each(|p| p.begun |= p.number <= sent);
                    model.trim(0, 0, now, &mut lost);
                }
                4 | 5 => {
                    queue.resumed(&mut scene.messages);
                    model.offline = false;
                }
                6 | 7 => {
                    let also: Vec<u64> = model.all.iter().map(|p| p.number).filter(|n| n % 3 == which.index(3) as u64).collect();
                    let up_to = model.all.first().map_or(0, |p| p.number + which.index(3) as u64);
                    let done = done(up_to, &also);
                    queue.done(&done, &mut scene.messages);
                    queue.done(&done, &mut scene.messages);
                    model.all.retain(|p| !done.contains(MessageNo(p.number)));
                }
                _ => {
                    let odd = which.index(4) as u64;
                    scene.with(|cx| queue.purge(cx, |message| message.at % 4 != odd));
                    let gone = model.all.iter().filter(|p| !p.begun && p.at % 4 == odd);
                    lost.extend(gone.map(|p| (DropReason::Forbidden, p.at)));
                    model.all.retain(|p| p.at % 4 != odd);
                }
            }
            prop_assert_eq!(&scene.dropped, &lost);
            let mut references: BTreeMap<u64, (u32, u32)> = BTreeMap::new();
            for (queue, model) in queues.iter().zip(&models) {
                let of = |begun: bool| model.all.iter().filter(move |p| p.begun == begun);
                let expected: Vec<(u64, Option<u32>)> = of(false)
                    .map(|p| (p.number, (p.id > 0).then_some(p.id))).collect();
                let read = queue.waiting(MessageNo::NONE);
                let read: Vec<_> = read.map(|r| (r.number().0, queue.form(r).map(|f| f.ids[0]))).collect();
                prop_assert_eq!(read, expected);
                let begun: Vec<u64> = of(true).map(|p| p.number).collect();
                let read: Vec<u64> = queue.begun.iter().map(|r| r.number().0).collect();
                prop_assert_eq!(read, begun);
                let bytes: u64 = model.all.iter().map(|p| p.len).sum();
                prop_assert_eq!(queue.bytes(), if model.offline { bytes } else { 0 });
                for plain in &model.all {
                    let counts = references.entry(plain.number).or_default();
                    counts.0 += 1;
                    counts.1 += u32::from(model.offline);
                }
            }
            prop_assert_eq!(scene.messages.references(), references);
            // A queue is restored from the messages and its own snapshot.
            let bytes = postcard::to_stdvec(&scene.messages.snapshot()).unwrap();
            let mut messages = Messages::restore(postcard::from_bytes(&bytes).unwrap()).unwrap();
            for queue in queues.iter().filter(|queue| queue.len() > 0) {
                let bytes = postcard::to_stdvec(&queue.snapshot()).unwrap();
                let image = postcard::from_bytes(&bytes).unwrap();
                let restored = Queue::restore(image, queue.presence, &mut messages).unwrap();
                prop_assert_eq!(&restored, queue);
            }
            prop_assert_eq!(&messages, &scene.messages);
        }
        for queue in queues {
            queue.end(&mut scene.messages);
        }
        prop_assert_eq!((scene.messages.count(), scene.messages.offline_bytes()), (0, 0));
    }
}
