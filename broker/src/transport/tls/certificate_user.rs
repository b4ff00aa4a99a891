//! The user in a client certificate.

use roommq_config::UserFrom;
use tokio_rustls::rustls::pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;

/// A verified certificate lacks the named field, which would hold the user. The server refuses such a client by CONNACK.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the client's certificate has no {0} to take the user from")]
pub(crate) struct CertificateUserError(pub &'static str);

/// The user that a certificate names.
pub(super) fn certificate_user(
    certificate: &CertificateDer<'_>,
    from: UserFrom,
) -> Result<String, CertificateUserError> {
    let wanted = match from {
        UserFrom::Nothing | UserFrom::CommonName => "common name",
        UserFrom::Email => "e-mail address",
        UserFrom::Dns => "DNS name",
    };
    let (_, certificate) = x509_parser::parse_x509_certificate(certificate)
        .map_err(|_| CertificateUserError(wanted))?;
    let alternatives = certificate.subject_alternative_name().ok().flatten();
    let mut alternatives = alternatives
        .iter()
        .flat_map(|names| &names.value.general_names);
    let name = match from {
        UserFrom::Nothing | UserFrom::CommonName => {
            let mut names = certificate.subject().iter_common_name();
            names.next().and_then(|name| name.as_str().ok())
        }
        UserFrom::Email => alternatives.find_map(|name| match name {
            GeneralName::RFC822Name(name) => Some(*name),
            _ => None,
        }),
        UserFrom::Dns => alternatives.find_map(|name| match name {
            GeneralName::DNSName(name) => Some(*name),
            _ => None,
        }),
    };
    name.map(str::to_owned).ok_or(CertificateUserError(wanted))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    #[test]
    fn a_certificate_names_a_user() {
        let mut params = CertificateParams::new(vec!["host.example".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, "alice");
        let email = SanType::Rfc822Name("a@b.example".try_into().unwrap());
        params.subject_alt_names.push(email);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let table = [
            (UserFrom::CommonName, "alice"),
            (UserFrom::Email, "a@b.example"),
            (UserFrom::Dns, "host.example"),
        ];
        for (from, wanted) in table {
            assert_eq!(
                certificate_user(certificate.der(), from),
                Ok(wanted.to_owned())
            );
        }
        let params = CertificateParams::new(Vec::new()).unwrap();
        let bare = params.self_signed(&key).unwrap();
        assert_eq!(
            certificate_user(bare.der(), UserFrom::Email),
            Err(CertificateUserError("e-mail address"))
        );
    }
}
