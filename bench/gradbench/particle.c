/* A charged particle is pushed by two charges, one of which is placed by w. Which w makes it cross the x axis at 0? The
 * acceleration is minus the gradient of a potential (inner derivative); gradient descent in w wants the derivative of the
 * square of where Euler's method ends (outer derivative, of the inner one). After Pearlmutter and Siskind, "Using
 * programming language theory to make automatic differentiation sound and efficient", 2008. */
#include "gradbench.h"

#include <math.h>

enum { MOST_STEPS = 1 << 20, STATE = 4 };

/* A step of Euler's method, and the end, are programs of the state (x, x', v, v') and w; so are their derivatives. */
typedef struct particle {
    double w, result;
    ag_tape *tape;
    gb_mode *inner;
    bool reverse;                      /* the outer mode */
    ag_compiled *step, *end;           /* forward: with their derivatives along directions */
    ag_compiled *step_back, *end_back; /* reverse: their derivatives */
    double (*path)[STATE];             /* reverse: the states that were passed */
    double at, slope;                  /* the w whose path it is; forward: the derivative there */
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

/* The model and its derivative in the outer mode: forward one program of both, in reverse *back is the derivative. */
static void make(gb_run *run, ag_model model, ag_compiled **value, ag_compiled **back) {
    particle *p = run->state;
    const ag_port in[] = {ag_in("state", AG_SHAPE(STATE)), ag_in("w", (ag_shape){.rank = 0})};
    const int adjoints[] = {1, 2};
    ag_program *program = ag_program_trace(AG_F64, model, p, in, 2, NULL, 1);
    if (p->reverse) {
        ag_program *vjp = ag_program_vjp(program, NULL, 0);
        *back = gb_compiled(run, ag_program_select(vjp, adjoints, 2));
        *value = gb_compiled(run, program);
        ag_program_free(vjp);
    } else {
        *value = gb_compiled(run, ag_program_jvp(program, NULL, 0));
        ag_program_free(program);
    }
}

static bool prepare(gb_run *run, bool reverse, gb_mode *inner) {
    particle *p = run->state;
    p->reverse = reverse;
    p->inner = inner;
    p->room = 1 << 12;
    if (reverse) p->path = gb_array(run, p->room, sizeof *p->path);
    p->at = NAN;
    make(run, step, &p->step, &p->step_back);
    make(run, end, &p->end, &p->end_back);
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
    const double one = 1;
    int now = 0;
    memcpy(state[0], start, sizeof start);
    for (; !crosses(state[now]) && go_on(p, *w, MOST_STEPS); now = !now)
        ag_compiled_run(p->step, (const double *[]){state[now], w, tangent[now], &one},
                        (double *[]){state[!now], tangent[!now]});
    ag_compiled_run(p->end, (const double *[]){state[now], w, tangent[now], &one}, (double *[]){&result, &p->slope});
    return result;
}

/* Reverse: the states are kept for the way back. */
static double miss_reverse(particle *p, const double *w) {
    double result;
    memcpy(p->path[0], start, sizeof start);
    while (!crosses(p->path[p->steps]) && go_on(p, *w, p->room))
        ag_compiled_run(p->step, (const double *[]){p->path[p->steps - 1], w}, (double *[]){p->path[p->steps]});
    ag_compiled_run(p->end, (const double *[]){p->path[p->steps], w}, (double *[]){&result});
    return result;
}

static double miss(void *context, const double *w) {
    particle *p = context;
    p->steps = 0;
    p->at = *w;
    return p->reverse ? miss_reverse(p, w) : miss_forward(p, w);
}

/* Adjoints flow on the way back. */
static double way_back(const particle *p, const double *w) {
    double adjoint[2][STATE], slope, part = 0; /* they take turns */
    const double one = 1;
    int now = 0;
    ag_compiled_run(p->end_back, (const double *[]){p->path[p->steps], w, &one}, (double *[]){adjoint[now], &slope});
    for (int64_t i = p->steps; i-- > 0; now = !now) {
        ag_compiled_run(p->step_back, (const double *[]){p->path[i], w, adjoint[now]},
                        (double *[]){adjoint[!now], &part});
        slope += part;
    }
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
