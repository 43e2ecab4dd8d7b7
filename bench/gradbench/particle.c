/* A charged particle is pushed by two charges, one of which is placed by w. Which w makes it cross the x axis at 0? The
 * acceleration is minus the gradient of a potential (inner derivative); gradient descent in w wants the derivative of the
 * square of where Euler's method ends (outer derivative, of the inner one). After Pearlmutter and Siskind, "Using
 * programming language theory to make automatic differentiation sound and efficient", 2008. */
#include "gradbench.h"

enum { MOST_STEPS = 1 << 20, STATE = 4 };

/* A step of Euler's method, and the end, are programs of the state (x, x', v, v') and w; so are their derivatives. */
typedef struct particle {
    double w, result;
    ag_tape *tape;
    gb_mode *inner;
    bool reverse; /* the outer mode */
    ag_compiled *step, *end, *step_derivative, *end_derivative;
    double (*path)[STATE]; /* reverse: the states that were passed */
    int64_t steps, room;
} particle;

static bool parse(gb_run *run, const json_t *input) {
    particle *p = run->state;
    p->tape = run->tape;
    p->w = gb_number(run, input, "w");
    return !run->error[0];
}

/* ---- programs ---- */

static ag_var inverse_distance(const ag_var *x, ag_var charge_x, ag_var charge_y) {
    ag_var dx = ag_sub(x[0], charge_x), dy = ag_sub(x[1], charge_y);
    return ag_recip(ag_sqrt(ag_fma(dx, dx, ag_square(dy))));
}

static ag_var potential(const ag_var *x, ag_var w) {
    return ag_add(inverse_distance(x, ag_num(10), ag_sub(10, w)), inverse_distance(x, ag_num(10), ag_num(0)));
}

static const double dt = 0.1;

/* The state after a step; v is pushed by minus the gradient of the potential, the inner derivative. */
static void step(ag_tape *tape, const ag_var *in, ag_var *out, void *context) {
    const particle *p = context;
    ag_var x[2], v[2], slope[2], next[STATE];
    (void)tape;
    for (int i = 0; i < 2; i++) {
        x[i] = ag_at(in[0], i);
        v[i] = ag_at(in[0], 2 + i);
    }
    p->inner(potential(x, in[1]), x, 2, slope);
    for (int i = 0; i < 2; i++) {
        next[i] = ag_fma(v[i], dt, x[i]);
        next[2 + i] = ag_fnma(slope[i], dt, v[i]);
    }
    out[0] = ag_stack(next, STATE, 0);
}

/* The square of where a particle that is in its last step crosses the x axis. */
static void end(ag_tape *tape, const ag_var *in, ag_var *out, void *context) {
    ag_var x[2], v[2];
    (void)tape, (void)context;
    for (int i = 0; i < 2; i++) {
        v[i] = ag_at(in[0], 2 + i);
        x[i] = ag_fma(v[i], dt, ag_at(in[0], i));
    }
    out[0] = ag_square(ag_fnma(ag_div(x[1], v[1]), v[0], x[0]));
}

/* A runner of the model and one of its derivative, in the outer mode: by its inputs, or along directions of them. */
static void make(gb_run *run, ag_model model, ag_compiled **value, ag_compiled **derivative) {
    particle *p = run->state;
    const ag_port in[] = {ag_in("state", AG_SHAPE(STATE)), ag_in("w", (ag_shape){.rank = 0})};
    ag_program *program = ag_program_trace(AG_F64, model, p, in, 2, NULL, 1);
    *derivative = gb_compiled(run, p->reverse ? ag_program_vjp(program, NULL, 0) : ag_program_jvp(program, NULL, 0));
    *value = gb_compiled(run, program);
}

static bool prepare(gb_run *run, bool reverse, gb_mode *inner) {
    particle *p = run->state;
    p->reverse = reverse;
    p->inner = inner;
    p->room = 1 << 12;
    p->path = gb_array(run, p->room, sizeof *p->path);
    make(run, step, &p->step, &p->step_derivative);
    make(run, end, &p->end, &p->end_derivative);
    return !run->error[0];
}

/* The first letter is the outer mode. */
static bool prepare_ff(gb_run *run) { return prepare(run, false, gb_forward); }
static bool prepare_fr(gb_run *run) { return prepare(run, false, gb_reverse); }
static bool prepare_rf(gb_run *run) { return prepare(run, true, gb_forward); }
static bool prepare_rr(gb_run *run) { return prepare(run, true, gb_reverse); }

/* ---- the way of a particle ---- */

static const double start[STATE] = {0, 8, 0.75, 0};

static bool crosses(const double *state) { return !(state[1] + dt * state[3] > 0); }

/* Counts a step; false if there are too many. */
static bool go_on(particle *p, double w) {
    if (++p->steps < MOST_STEPS) return true;
    ag_fail(p->tape, AG_ERR_VALUE, "particle: with w = %g it does not cross the axis in %d steps", w, MOST_STEPS);
    return false;
}

static double miss(void *context, const double *w) {
    particle *p = context;
    double state[STATE], next[STATE], result = 0;
    memcpy(state, start, sizeof state);
    p->steps = 0;
    while (!crosses(state) && go_on(p, *w)) {
        ag_compiled_run(p->step, (const double *[]){state, w}, (double *[]){next});
        memcpy(state, next, sizeof state);
    }
    ag_compiled_run(p->end, (const double *[]){state, w}, (double *[]){&result});
    return result;
}

/* Forward: the derivative of the state goes along with it. */
static void slope_forward(particle *p, const double *w, double *out) {
    double state[STATE], next[STATE], tangent[STATE] = {0}, next_tangent[STATE], result;
    const double one = 1;
    memcpy(state, start, sizeof state);
    p->steps = 0;
    while (!crosses(state) && go_on(p, *w)) {
        ag_compiled_run(p->step_derivative, (const double *[]){state, w, tangent, &one},
                        (double *[]){next, next_tangent});
        memcpy(state, next, sizeof state);
        memcpy(tangent, next_tangent, sizeof tangent);
    }
    ag_compiled_run(p->end_derivative, (const double *[]){state, w, tangent, &one}, (double *[]){&result, out});
}

/* Reverse: the states are kept on the way there, adjoints flow on the way back. */
static void slope_reverse(particle *p, const double *w, double *out) {
    double adjoint[STATE], before[STATE], part = 0;
    const double one = 1;
    memcpy(p->path[0], start, sizeof start);
    p->steps = 0;
    while (!crosses(p->path[p->steps])) {
        if (p->steps + 1 == p->room || !go_on(p, *w)) break;
        ag_compiled_run(p->step, (const double *[]){p->path[p->steps - 1], w}, (double *[]){p->path[p->steps]});
    }
    if (p->steps + 1 == p->room) ag_fail(p->tape, AG_ERR_VALUE, "particle: more than %lld steps", (long long)p->room);
    *out = 0;
    ag_compiled_run(p->end_derivative, (const double *[]){p->path[p->steps], w, &one},
                    (double *[]){NULL, adjoint, out});
    for (int64_t i = p->steps; i-- > 0;) {
        ag_compiled_run(p->step_derivative, (const double *[]){p->path[i], w, adjoint},
                        (double *[]){NULL, before, &part});
        memcpy(adjoint, before, sizeof adjoint);
        *out += part;
    }
}

static void slope(void *context, const double *w, double *out) {
    particle *p = context;
    (p->reverse ? slope_reverse : slope_forward)(p, w, out);
}

static void evaluate(gb_run *run) {
    particle *p = run->state;
    p->result = p->w;
    gb_descend(&(gb_surface){p, miss, slope, NULL, 1, 1}, &p->result);
}

static json_t *print(gb_run *run) { return json_real(((particle *)run->state)->result); }

const gb_function gb_particle[] = {{"particle", "ff", sizeof(particle), parse, prepare_ff, evaluate, print},
                                   {"particle", "fr", sizeof(particle), parse, prepare_fr, evaluate, print},
                                   {"particle", "rf", sizeof(particle), parse, prepare_rf, evaluate, print},
                                   {"particle", "rr", sizeof(particle), parse, prepare_rr, evaluate, print},
                                   {0}};
