//! One render kept in the repository, so that a review sees what a template change does.

use std::fs;

use crate::helm::{ready, rendered, root};

#[test]
fn golden_render_is_current() {
    if !ready() {
        return;
    }
    let path = root().join("e2e/tests/golden/chart-riverside.yaml");
    let now = &rendered("riverside.yaml").yaml;
    if std::env::var_os("CONSILIUM_BLESS").is_some() {
        fs::write(&path, now).unwrap();
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    let first = now.lines().zip(kept.lines()).position(|(a, b)| a != b);
    assert!(
        *now == kept,
        "the render differs from {} (first at line {:?}); look at the change, then run `make gen`",
        path.display(),
        first.map(|line| line + 1)
    );
}
