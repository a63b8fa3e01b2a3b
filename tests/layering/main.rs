//! Who may import whom. DESIGN's one-way street is what keeps values plaintext in one place only; this holds it.

mod dependencies;
mod imports;
mod sources;
