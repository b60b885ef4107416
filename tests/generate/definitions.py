"""Definitions that every generated program has, whether it uses them or not."""

DEFINITIONS = """
let bound_by = 0.9

function soft(x) = if x > 0 then x + log1p(exp(-x)) else log1p(exp(x))
function square(x) = x^2
function rectified(x) = max(x, 0)
function clipped(x; bound = 1) = min(max(x, -bound), bound)
function bounded(x) = clipped(x, bound = bound_by)
function inverse(x) = 1 / (2 + tanh(x))
function gauss(x) = exp(-(x * x))
function gate(a, b) = a * sigmoid(b)
function magnitude(x) = abs(x) + 0.25 * sqrt(1 + x^2)
function normal(x) = 0.5 * x * (1 + erf(x / sqrt(2)))
function logistic(x) = 1 / (1 + exp(-x)) derivative y * (1 - y)
function wavelet(x) = (1 - x^2) * exp(-x^2 / 2) derivative (x^3 - 3 * x) * exp(-x^2 / 2)
function prelu(x; learn slope = 0.25) = if x > 0 then x else slope * x
function bent(x; learn scale = 1, learn shift = 0.1, power = 2) =
    scale * x^power / (1 + sqrt(1 + x^power)) + shift * x

loss own_huber(y, t; delta = 1) =
    sum(if abs(y - t) < delta then 0.5 * (y - t)^2 else delta * (abs(y - t) - 0.5 * delta))
loss largest_error(y, t) = max(abs(y - t)) + mean((y - t)^2)
loss own_cross_entropy(y, t) = -sum(t * log(softmax(y) + 1e-9))
loss smoothed(y, t; amount = 0.1) =
    -(1 - amount) * sum(t * log_softmax(y)) - amount * mean(log_softmax(y))

optimizer own_adam(w, g, lr; beta = 0.9, gamma = 0.99) {
    state m = 0
    state v = 0
    m = beta * m + (1 - beta) * g
    v = gamma * v + (1 - gamma) * g^2
    w = w - lr * (m / (1 - beta ^ step)) / (sqrt(v / (1 - gamma ^ step)) + 1e-8)
}
optimizer own_momentum(w, g, lr; beta = 0.9) {
    state v = 0
    change = beta * v + g           # a local name
    v = change
    w = w - lr * change
}

schedule halving(epoch; lr, every = 3) = lr * 0.5 ^ floor(epoch / every)
schedule rising(epoch; most) = most * min(1, (epoch + 1) / (0.5 * epochs))
schedule factors(epoch; lr, decay) = lr * product(i in 1 .. epoch, 1 / (1 + decay * i))

layer block(x; width, scale = 0.5) {
    h = relu(linear(x, width))
    return scale * h + tanh(linear(h, width))
}
layer normed(x; width) {
    h = batch_norm(linear(x, width, bias = false), epsilon = 0.01)
    return silu(h)
}
layer twice(x; width) {
    first = block(x, width = width)
    return block(first, width = width, scale = 0.25) + first
}
"""
