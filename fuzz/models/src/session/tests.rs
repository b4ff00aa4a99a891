use super::*;
use proptest::prelude::*;

fn setups() -> impl Strategy<Value = Setup> {
    any::<[u8; 8]>().prop_map(|bytes| Setup::of(&mut Input::new(&bytes)))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn the_session_loses_repeats_and_reorders_nothing(
        setup in setups(),
        actions in prop::collection::vec(any::<[u8; 4]>().prop_map(Action::of), 0..120),
    ) {
        play(setup, actions);
    }
}
