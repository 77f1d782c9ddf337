//! Arguments -> `cli`, nothing else.

fn main() {}
