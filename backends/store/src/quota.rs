//! How much an account holds, and how much it may.
//!
//! Lives here: [`Contents`], [`Quota`], and the comparison of both.
//! May not: count anything; what a store keeps is the store's to count.

use crate::DeliveryError;

/// How much there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    /// Messages.
    pub messages: u64,
    /// Their octets.
    pub octets: u64,
}

/// How much an account may hold, its folders together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quota {
    /// Octets; none: no limit.
    pub octets: Option<u64>,
    /// Messages; none: no limit.
    pub messages: Option<u64>,
}

impl Quota {
    /// Whether there is no limit at all.
    pub fn is_none(&self) -> bool {
        self.octets.is_none() && self.messages.is_none()
    }

    /// Whether one message more, of so many octets, fits beside what is `held`.
    ///
    /// ```
    /// use postino_store::{Contents, DeliveryError, Quota};
    /// let quota = Quota { octets: Some(1000), messages: None };
    /// let held = Contents { messages: 3, octets: 900 };
    /// assert!(quota.admit(held, 100).is_ok());
    /// assert!(matches!(quota.admit(held, 101), Err(DeliveryError::OverQuota { .. })));
    /// assert!(matches!(quota.admit(held, 1001), Err(DeliveryError::LargerThanQuota)));
    /// ```
    pub fn admit(&self, held: Contents, octets: u64) -> Result<(), DeliveryError> {
        let exceeds = |limit: Option<u64>, wanted: u64| limit.is_some_and(|limit| wanted > limit);
        if exceeds(self.octets, octets) {
            return Err(DeliveryError::LargerThanQuota);
        }
        if exceeds(self.octets, held.octets.saturating_add(octets))
            || exceeds(self.messages, held.messages.saturating_add(1))
        {
            return Err(DeliveryError::OverQuota { what: self.compared(held) });
        }
        Ok(())
    }

    /// What is held of what may be: `512 of 1000 octets, 3 of 10 messages`.
    fn compared(&self, held: Contents) -> String {
        let octets = self.octets.map(|limit| format!("{} of {limit} octets", held.octets));
        let messages = self.messages.map(|limit| format!("{} of {limit} messages", held.messages));
        octets.into_iter().chain(messages).collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::{Contents, Quota};

    #[test]
    fn either_limit_is_one_and_both_are_told() {
        let quota = Quota { octets: Some(100), messages: Some(2) };
        let told = |held| quota.admit(held, 10).map_err(|error| error.to_string());
        assert_eq!(told(Contents { messages: 1, octets: 90 }), Ok(()));
        for (messages, octets) in [(2, 10), (1, 91), (u64::MAX, u64::MAX)] {
            let text = format!("over quota: {octets} of 100 octets, {messages} of 2 messages");
            assert_eq!(told(Contents { messages, octets }), Err(text));
        }
        let unlimited = Quota::default();
        assert!(unlimited.is_none());
        assert!(unlimited.admit(Contents { messages: u64::MAX, octets: u64::MAX }, 1).is_ok());
    }
}
