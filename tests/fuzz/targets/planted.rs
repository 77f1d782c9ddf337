//! A bug that fuzzing must find within seconds: whether this set-up finds any. It takes instrumented comparisons (the
//! word), coverage (the nesting), and overflow checks as a debug build has them (the bug).

pub fn run(data: &[u8]) {
    let Some(rest) = data.strip_prefix(b"tick") else { return };
    let [kind, count, ..] = *rest else { return };
    if kind == b'!' && count > 200 {
        let _ = std::hint::black_box(count) + 55;
    }
}
