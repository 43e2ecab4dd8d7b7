/* A charged particle is pushed by two charges, one of which is placed by w. Which w makes it cross the x axis at 0? The
 * acceleration is minus the gradient of a potential (inner derivative); gradient descent in w wants the derivative of the
 * square of where Euler's method ends (outer derivative, of the inner one). After Pearlmutter and Siskind, "Using
 * programming language theory to make automatic differentiation sound and efficient", 2008. */
#include "gradbench.h"

#include <math.h>

enum { MOST_STEPS = 1 << 20, STATE = 4, MOST_KEPT = 8 };

/* A program of the state and w, and in reverse the one for the way back, with numbers that the first keeps for it. */
typedef struct part {
    ag_compiled *run, *back;
    int kept;
} part;

/* A state on the way, and what is kept for the way back from there. */
typedef struct place {
    double state[STATE], kept[MOST_KEPT];
} place;

/* A step of Euler's method, and the end, are programs of the state (x, x', v, v') and w; so are their derivatives. */
typedef struct particle {
    double w, result;
    ag_tape *tape;
    gb_mode *inner;
    bool reverse;     /* the outer mode */
    part step, end;   /* forward: with their derivatives along directions */
    place *path;      /* reverse: where it passed */
    double at, slope; /* the w whose path it is; forward: the derivative there */
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

/* The model and its derivative in the outer mode: forward one program of both, in reverse the value, and what is left to do
 * once the adjoint is known. */
static part make(gb_run *run, ag_model model) {
    particle *p = run->state;
    const ag_port in[] = {ag_in("state", AG_SHAPE(STATE)), ag_in("w", (ag_shape){.rank = 0})};
    ag_program *program = ag_program_trace(AG_F64, model, p, in, 2, NULL, 1);
    part made = {NULL, NULL, 0};
    if (p->reverse) {
        ag_program *forward = ag_program_forward(program, NULL, 0);
        made.kept = ag_program_outputs(forward) - 1;
        if (made.kept > MOST_KEPT) gb_fail(run, "particle: %d numbers to keep are too many", made.kept);
        made.run = gb_compiled(run, forward);
        made.back = gb_compiled(run, ag_program_back(program, NULL, 0));
    } else {
        made.run = gb_compiled(run, ag_program_jvp(program, NULL, 0));
    }
    ag_program_free(program);
    return made;
}

static bool prepare(gb_run *run, bool reverse, gb_mode *inner) {
    particle *p = run->state;
    p->reverse = reverse;
    p->inner = inner;
    p->room = 1 << 12;
    if (reverse) p->path = gb_array(run, p->room, sizeof *p->path);
    p->at = NAN;
    p->step = make(run, step);
    p->end = make(run, end);
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
static bool go_on(particle *p, double w, int64_t most) {
    if (++p->steps < most) return true;
    ag_fail(p->tape, AG_ERR_VALUE, "particle: with w = %g it does not cross the axis in %lld steps", w,
            (long long)most);
    return false;
}

/* Forward: the derivative of the state goes along with it. */
static double miss_forward(particle *p, const double *w) {
    double state[2][STATE], tangent[2][STATE] = {{0}}, result; /* they take turns */
    const double one = 1, *const from[2][4] = {{state[0], w, tangent[0], &one}, {state[1], w, tangent[1], &one}};
    double *const to[2][2] = {{state[1], tangent[1]}, {state[0], tangent[0]}};
    int now = 0;
    memcpy(state[0], start, sizeof start);
    for (; !crosses(state[now]) && go_on(p, *w, MOST_STEPS); now = !now)
        ag_compiled_run(p->step.run, from[now], to[now]);
    ag_compiled_run(p->end.run, from[now], (double *[]){&result, &p->slope});
    return result;
}

/* Reverse: from a place, which keeps what the way back will need there. */
static void go(const part *f, place *from, const double *w, double *to) {
    double *out[1 + MOST_KEPT] = {to};
    for (int i = 0; i < f->kept; i++) out[1 + i] = &from->kept[i];
    ag_compiled_run(f->run, (const double *[]){from->state, w}, out);
}

static double miss_reverse(particle *p, const double *w) {
    double result;
    memcpy(p->path[0].state, start, sizeof start);
    while (!crosses(p->path[p->steps].state) && go_on(p, *w, p->room))
        go(&p->step, &p->path[p->steps - 1], w, p->path[p->steps].state);
    go(&p->end, &p->path[p->steps], w, &result);
    return result;
}

static double miss(void *context, const double *w) {
    particle *p = context;
    p->steps = 0;
    p->at = *w;
    return p->reverse ? miss_reverse(p, w) : miss_forward(p, w);
}

/* The adjoint of where a part went becomes that of the state before. Returns w's part. */
static double go_back(const part *f, const place *from, const double *w, const double *adjoint, double *before) {
    const double *in[3 + MOST_KEPT] = {from->state, w, adjoint};
    double slope = 0;
    for (int i = 0; i < f->kept; i++) in[3 + i] = &from->kept[i];
    ag_compiled_run(f->back, in, (double *[]){before, &slope});
    return slope;
}

static double way_back(const particle *p, const double *w) {
    double adjoint[2][STATE]; /* they take turns */
    const double one = 1;
    int now = 0;
    double slope = go_back(&p->end, &p->path[p->steps], w, &one, adjoint[now]);
    for (int64_t i = p->steps; i-- > 0; now = !now)
        slope += go_back(&p->step, &p->path[i], w, adjoint[now], adjoint[!now]);
    return slope;
}

/* The descent wants it where it has just asked for the value. */
static void slope(void *context, const double *w, double *out) {
    particle *p = context;
    if (p->at != *w) (void)miss(p, w);
    *out = p->reverse ? way_back(p, w) : p->slope;
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
