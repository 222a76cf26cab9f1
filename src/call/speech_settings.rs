//! How speech is found and cut, by the role of whoever speaks.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::event::Role;
use crate::speech::utterance::Settings;

/// The settings of the legs of each role.
#[derive(Clone, Debug, Default)]
pub struct SpeechSettings {
    default: Arc<Settings>,
    roles: BTreeMap<Role, Arc<Settings>>,
}

impl SpeechSettings {
    /// These for every leg.
    pub fn new(settings: Settings) -> Self {
        Self {
            default: Arc::new(settings),
            roles: BTreeMap::new(),
        }
    }

    /// Others for the legs of a role.
    #[must_use]
    pub fn with_role(mut self, role: Role, settings: Settings) -> Self {
        self.roles.insert(role, Arc::new(settings));
        self
    }

    /// The settings of a leg of that role, if it is known.
    pub fn of(&self, role: Option<Role>) -> &Arc<Settings> {
        role.and_then(|role| self.roles.get(&role))
            .unwrap_or(&self.default)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::speech::utterance::Timing;

    #[test]
    fn a_role_without_settings_of_its_own_has_those_of_all() {
        let settings = |timing| Settings::new(timing).unwrap();
        let by_role = SpeechSettings::new(settings(Timing::dialogue()))
            .with_role(Role::Agent, settings(Timing::monologue()));
        let hangover = |role| by_role.of(role).hangover();
        assert_eq!(hangover(Some(Role::Agent)), Duration::from_millis(1_200));
        assert_eq!(hangover(Some(Role::Customer)), hangover(None));
    }
}
