//! Private keys that rustls does not name when it refuses them.

use std::path::Path;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;

/// The object identifier of the curve P-521 in DER: 1.3.132.0.35.
const P_521: &[u8] = &[0x06, 0x05, 0x2B, 0x81, 0x04, 0x00, 0x23];

/// What is wrong with the private key in this PEM file, and what to do. None: it is neither encrypted
/// nor of an unsupported curve.
#[must_use]
pub fn key_fault(path: &Path) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    let shown = path.display();
    if text.contains("ENCRYPTED") {
        return Some(format!(
            "the private key is encrypted, and nobody could type its password; decrypt it with `openssl pkey -in \
             {shown} -out NEW.key`"
        ));
    }
    let key = PrivateKeyDer::from_pem_slice(text.as_bytes()).ok()?;
    let is_p_521 = key
        .secret_der()
        .windows(P_521.len())
        .any(|part| part == P_521);
    is_p_521.then(|| {
        "keys on the curve P-521 are not supported; make a key on P-256 or P-384, such as by `openssl ecparam \
         -name prime256v1 -genkey -noout`, and a certificate for it"
            .to_owned()
    })
}
