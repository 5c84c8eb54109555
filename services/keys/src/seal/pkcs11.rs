//! A PKCS #11 token (OASIS PKCS #11 3.1): an AES key of the token wraps the master key by CKM_AES_GCM.

use super::{Master, Seal, SealError, secret_file};
use consilium_abe::rand_core::CryptoRngCore;
use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::aead::GcmParams;
use cryptoki::object::{Attribute, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::types::AuthPin;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use zeroize::Zeroizing;

const METHOD: &str = "pkcs11";
const NONCE: usize = 12;
const TAG_BITS: u64 = 128;

/// Modules that this process has loaded. A module is initialised once per process (§5.4) and stays.
static MODULES: Mutex<BTreeMap<PathBuf, Pkcs11>> = Mutex::new(BTreeMap::new());

/// Wraps by an AES key that never leaves its token. The PIN's file is read at each use.
pub struct Pkcs11Token {
    module: PathBuf,
    token: String,
    pin_file: PathBuf,
    key: String,
}

fn failed(what: &str, cause: &Error) -> SealError {
    let text = format!("the PKCS #11 token cannot {what}: {cause}");
    match cause {
        Error::Pkcs11(
            RvError::DeviceError | RvError::DeviceRemoved | RvError::TokenNotPresent | RvError::GeneralError,
            _,
        ) => SealError::Unreachable(text),
        _ => SealError::Refused(text),
    }
}

impl Pkcs11Token {
    pub fn new(module: &Path, token: &str, pin_file: &Path, key: &str) -> Self {
        Self {
            module: module.to_owned(),
            token: token.to_owned(),
            pin_file: pin_file.to_owned(),
            key: key.to_owned(),
        }
    }

    fn context(&self) -> Result<Pkcs11, SealError> {
        let mut modules = MODULES.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = modules.get(&self.module) {
            return Ok(found.clone());
        }
        let context = Pkcs11::new(&self.module).map_err(|cause| failed("be loaded", &cause))?;
        context
            .initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK))
            .map_err(|cause| failed("be initialised", &cause))?;
        modules.insert(self.module.clone(), context.clone());
        Ok(context)
    }

    /// A session in which the user is logged in, and the key.
    fn session(&self) -> Result<(Session, ObjectHandle), SealError> {
        let context = self.context()?;
        let slots = context.get_slots_with_token().map_err(|cause| failed("list its slots", &cause))?;
        let slot = slots.into_iter().find(|slot| {
            context.get_token_info(*slot).is_ok_and(|info| info.label().trim_end() == self.token)
        });
        let slot = slot.ok_or_else(|| {
            SealError::Unreachable(format!("no PKCS #11 slot holds the token `{}`", self.token))
        })?;
        let session = context.open_ro_session(slot).map_err(|cause| failed("open a session", &cause))?;
        let pin = secret_file(&self.pin_file)?;
        match session.login(UserType::User, Some(&AuthPin::new(pin.as_str().into()))) {
            Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => {}
            Err(cause) => return Err(failed("log in", &cause)),
        }
        let template =
            [Attribute::Class(ObjectClass::SECRET_KEY), Attribute::Label(self.key.as_bytes().to_vec())];
        let found = session.find_objects(&template).map_err(|cause| failed("find the key", &cause))?;
        match found.as_slice() {
            [key] => Ok((session, *key)),
            found => Err(SealError::Refused(format!(
                "the token has {} secret keys with the label `{}`: it must be one",
                found.len(),
                self.key
            ))),
        }
    }
}

impl Seal for Pkcs11Token {
    fn method(&self) -> &'static str {
        METHOD
    }

    fn wrap(
        &self,
        master: &Master,
        context: &str,
        rng: &mut dyn CryptoRngCore,
    ) -> Result<Vec<u8>, SealError> {
        let (session, key) = self.session()?;
        let mut nonce = [0; NONCE];
        rng.fill_bytes(&mut nonce);
        let mut out = nonce.to_vec();
        let parameters = GcmParams::new(&mut nonce, context.as_bytes(), TAG_BITS.into());
        let parameters = parameters.map_err(|cause| failed("wrap", &cause))?;
        let wrapped = session
            .encrypt(&Mechanism::AesGcm(parameters), key, master.expose())
            .map_err(|cause| failed("wrap", &cause))?;
        // Tokens may replace the nonce by one of their own; then what was sent is not what must be kept.
        if out.as_slice() != nonce {
            out = nonce.to_vec();
        }
        out.extend(wrapped);
        Ok(out)
    }

    fn unwrap(&self, wrapped: &[u8], context: &str) -> Result<Master, SealError> {
        let (nonce, ciphertext) =
            wrapped.split_first_chunk::<NONCE>().ok_or(SealError::DoesNotOpen(METHOD))?;
        let (session, key) = self.session()?;
        let mut nonce = *nonce;
        let parameters = GcmParams::new(&mut nonce, context.as_bytes(), TAG_BITS.into());
        let parameters = parameters.map_err(|cause| failed("unwrap", &cause))?;
        let opened = session.decrypt(&Mechanism::AesGcm(parameters), key, ciphertext).map(Zeroizing::new);
        match opened {
            Ok(bytes) => Master::from_slice(&bytes).ok_or(SealError::DoesNotOpen(METHOD)),
            Err(Error::Pkcs11(
                RvError::EncryptedDataInvalid | RvError::EncryptedDataLenRange | RvError::GeneralError,
                _,
            )) => Err(SealError::DoesNotOpen(METHOD)),
            Err(cause) => Err(failed("unwrap", &cause)),
        }
    }
}
