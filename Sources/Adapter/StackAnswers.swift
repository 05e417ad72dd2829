import Stack

/// How the stack turns a flow away. `Framing` has a `Refusal` of its own: the one that travels.
typealias FlowAnswer = Refusal
