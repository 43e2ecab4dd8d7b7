/* A long short-term memory whose weight matrices are diagonal, l layers of b cells over a sequence of c vectors: the mean
 * loss of predicting each vector from those before it, and its gradient by all parameters. */
#include "gradbench.h"

/* The forget and output gates see what comes from below; the input gate and the change see the layer's own hidden vector.
 * Everything is a vector of b numbers. */
enum { FORGET, IN, OUT, CHANGE, GATES };
typedef struct layer {
    ag_var weight[GATES], bias[GATES];
    ag_var hidden, cell; /* its state */
} layer;

/* Steps that are recorded one by one; and of longer sequences, which are scanned piece by piece, those of a piece. */
enum { MOST_STEPS = 2048, PIECE = 64 };

typedef struct lstm {
    int64_t l, b, c;
    double *main, *extra, *state, *sequence; /* (2 l, 4 b), (3, b), (2 l, b), (c, b) */
    layer *layers;                           /* l */
    ag_var *outputs;                         /* of steps that are recorded one by one: the last layer's hidden vector */
    ag_var *states;                          /* l, after them: (2, b) */
    double loss, *gradient;                  /* by main, then by extra */
    ag_runner *runner;
} lstm;

static bool parse(gb_run *run, const json_t *input) {
    lstm *s = run->state;
    int64_t main[] = {GB_ANY, GB_ANY};
    s->main = gb_tensor(run, input, "main_params", 2, main);
    if (run->error[0]) return false;
    if (main[0] < 2 || main[0] % 2 || main[1] < 4 || main[1] % 4)
        return gb_fail(run, "main_params: expected 2 l rows of 4 b numbers, got %lld rows of %lld", (long long)main[0],
                       (long long)main[1]);
    s->l = main[0] / 2;
    s->b = main[1] / 4;
    int64_t extra[] = {3, s->b}, state[] = {2 * s->l, s->b}, sequence[] = {GB_ANY, s->b};
    s->extra = gb_tensor(run, input, "extra_params", 2, extra);
    s->state = gb_tensor(run, input, "state", 2, state);
    s->sequence = gb_tensor(run, input, "sequence", 2, sequence);
    if (run->error[0]) return false;
    s->c = sequence[0];
    if (s->c < 2 || s->c > INT32_MAX)
        return gb_fail(run, "sequence: expected 2 vectors at least, got %lld", (long long)s->c);
    s->layers = gb_array(run, s->l, sizeof *s->layers);
    s->outputs = gb_array(run, s->c - 1 < MOST_STEPS ? s->c - 1 : MOST_STEPS, sizeof *s->outputs);
    s->states = gb_array(run, s->l, sizeof *s->states);
    s->gradient = GB_DOUBLES(run, (8 * s->l + 3) * s->b);
    return !run->error[0];
}

static layer make_layer(ag_var main, ag_var state, int64_t i) {
    layer a;
    for (int gate = 0; gate < GATES; gate++) {
        a.weight[gate] = ag_index(ag_index(main, 0, 2 * i), 0, gate);
        a.bias[gate] = ag_index(ag_index(main, 0, 2 * i + 1), 0, gate);
    }
    a.hidden = ag_index(ag_index(state, 0, i), 0, 0);
    a.cell = ag_index(ag_index(state, 0, i), 0, 1);
    return a;
}

static ag_var before_gate(const layer *a, int gate, ag_var x) { return ag_fma(x, a->weight[gate], a->bias[gate]); }

/* One step of a layer on x; returns its hidden vector. */
static ag_var step(layer *a, ag_var x) {
    ag_var forget = ag_sigmoid(before_gate(a, FORGET, x)), out = ag_sigmoid(before_gate(a, OUT, x));
    ag_var in = ag_sigmoid(before_gate(a, IN, a->hidden)), change = ag_tanh(before_gate(a, CHANGE, a->hidden));
    a->cell = ag_fma(a->cell, forget, ag_mul(in, change));
    a->hidden = ag_mul(out, ag_tanh(a->cell));
    return a->hidden;
}

enum { MAIN, EXTRA, STATE, SEQUENCE, INPUTS };

/* Steps over all vectors of x from the state on: the hidden vectors of the last layer. */
static ag_var steps(lstm *s, ag_var main, ag_var state, ag_var x) {
    int64_t n = ag_shape_of(x).dim[0];
    for (int64_t i = 0; i < s->l; i++) s->layers[i] = make_layer(main, state, i);
    for (int64_t t = 0; t < n; t++) {
        ag_var h = ag_index(x, 0, t);
        for (int64_t i = 0; i < s->l; i++) h = step(&s->layers[i], h);
        s->outputs[t] = h;
    }
    return ag_stack(s->outputs, (int)n, 0);
}

static ag_var state_after(lstm *s) {
    for (int64_t i = 0; i < s->l; i++)
        s->states[i] = ag_stack((ag_var[]){s->layers[i].hidden, s->layers[i].cell}, 2, 0);
    return ag_stack(s->states, (int)s->l, 0);
}

/* A step of the scan: the state and a piece of x to the state after it and the hidden vectors. */
static void piece(ag_tape *tape, const ag_var *in, ag_var *out, void *context) {
    (void)tape;
    out[1] = steps(context, in[2], in[0], in[1]);
    out[0] = state_after(context);
}

/* A sequence of any length: the first steps one by one, then whole pieces. */
static ag_var long_steps(ag_tape *tape, lstm *s, ag_var main, ag_var state, ag_var x) {
    const ag_port ports[] = {ag_in("state", AG_SHAPE(s->l, 2, s->b)), ag_in("x", AG_SHAPE(PIECE, s->b)),
                             ag_in("main", AG_SHAPE(2 * s->l, 4, s->b))};
    const ag_along along[] = {AG_EACH, AG_EACH, AG_SHARED};
    int64_t n = ag_shape_of(x).dim[0], first = n % PIECE, pieces = n / PIECE;
    ag_program *program = ag_program_trace(AG_F64, piece, s, ports, 3, NULL, 2);
    ag_var hidden[2], y[2];
    if (first) {
        hidden[0] = steps(s, main, state, ag_slice(x, 0, 0, first, 1));
        state = state_after(s);
    }
    ag_var rest = ag_reshape(ag_contiguous(ag_slice(x, 0, first, AG_END, 1)), AG_SHAPE(pieces, PIECE, s->b));
    ag_scan(tape, program, pieces, 1, (ag_var[]){state, rest, main}, along, NULL, y);
    ag_program_free(program);
    hidden[first > 0] = ag_reshape(y[1], AG_SHAPE(n - first, s->b));
    return ag_concat(hidden, first ? 2 : 1, 0);
}

static void loss(ag_tape *tape, const ag_var *in, ag_var *out, void *context) {
    lstm *s = context;
    int64_t n = s->c - 1;
    ag_var state = in[STATE], seen = ag_mul(ag_slice(in[SEQUENCE], 0, 0, -1, 1), ag_index(in[EXTRA], 0, 0));
    ag_var hidden = n <= MOST_STEPS ? steps(s, in[MAIN], state, seen) : long_steps(tape, s, in[MAIN], state, seen);
    ag_var predicted = ag_fma(hidden, ag_index(in[EXTRA], 0, 1), ag_index(in[EXTRA], 0, 2));
    ag_var norm = ag_log(ag_add(ag_sum_over(ag_exp(predicted), AG_AXES(1), true), 2)); /* the 2 is the eval's */
    ag_var likelihood = ag_vdot(ag_slice(in[SEQUENCE], 0, 1, AG_END, 1), ag_sub(predicted, norm));
    out[0] = ag_div(likelihood, -(double)(n * s->b));
}

static bool prepare(gb_run *run, int wrt) {
    lstm *s = run->state;
    const ag_port in[INPUTS] = {[MAIN] = ag_in("main", AG_SHAPE(2 * s->l, 4, s->b)),
                                [EXTRA] = ag_in("extra", AG_SHAPE(3, s->b)),
                                [STATE] = ag_in("state", AG_SHAPE(s->l, 2, s->b)),
                                [SEQUENCE] = ag_in("sequence", AG_SHAPE(s->c, s->b))};
    s->runner = gb_trace(run, loss, s, in, INPUTS, wrt);
    return s->runner != NULL;
}
static bool prepare_objective(gb_run *run) { return prepare(run, 0); }
static bool prepare_jacobian(gb_run *run) { return prepare(run, 2); }

static void evaluate(gb_run *run) {
    lstm *s = run->state;
    const double *in[INPUTS] = {s->main, s->extra, s->state, s->sequence};
    double *out[] = {&s->loss, s->gradient, s->gradient + 8 * s->l * s->b};
    gb_check(run, s->runner, ag_run(s->runner, in, out));
}

static json_t *print_loss(gb_run *run) { return json_real(((lstm *)run->state)->loss); }

static json_t *print_gradient(gb_run *run) {
    lstm *s = run->state;
    return gb_vector(s->gradient, (8 * s->l + 3) * s->b);
}

const gb_function gb_lstm[] = {{"lstm", "objective", sizeof(lstm), parse, prepare_objective, evaluate, print_loss},
                               {"lstm", "jacobian", sizeof(lstm), parse, prepare_jacobian, evaluate, print_gradient},
                               {0}};
