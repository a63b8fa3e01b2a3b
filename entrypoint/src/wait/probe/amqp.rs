//! AMQP 0-9-1: the protocol header, answered by `Connection.Start` (the specification's 2.2.4 and 4.2.2).

use super::Verdict;

pub(super) const REQUEST: &[u8] = b"AMQP\x00\x00\x09\x01";

/// A frame is a type, a channel, a length, the payload, and an end that is not needed here.
pub(super) fn reply(bytes: &[u8]) -> Verdict {
    /// A method frame on channel 0.
    const METHOD: &[u8] = &[1, 0, 0];
    /// Class `connection`, method `start`.
    const START: &[u8] = &[0, 10, 0, 10];
    let agrees = |at: usize, wanted: &[u8]| bytes.iter().skip(at).zip(wanted).all(|(byte, wanted)| byte == wanted);
    // A broker that does not speak this version says which one it does, and hangs up.
    if bytes.starts_with(b"AMQP") {
        return Verdict::NotThis("speaks another version of AMQP");
    }
    match bytes.len() {
        _ if bytes.first() == Some(&b'A') && b"AMQP".starts_with(bytes) => Verdict::More,
        _ if !agrees(0, METHOD) || !agrees(7, START) => Verdict::NotThis("answers in something else than AMQP 0-9-1"),
        0..11 => Verdict::More,
        _ => Verdict::Ready,
    }
}
