/* The saddle point min_x max_y (x_0^2 + x_1^2) - (y_0^2 + y_1^2) by gradient descent in x, each of whose values and
 * gradients goes through a whole gradient ascent in y. Then y for the x that was found. */
#include "gradbench.h"

/* Programs of x and y, and of a step's length: the height f(x, y), its derivative by y, and a step of the ascent,
 * y + step * df/dy, which the outer derivative goes through. */
typedef struct saddle {
    double start[2], result[4];
    gb_mode *mode, *inner, *outer;
    bool reverse; /* the outer mode */
    ag_compiled *height, *inner_slope, *outer_slope, *move, *height_derivative;
    ag_compiled *slope;      /* of the ascent that is under way */
    double x[2], top[2];     /* and where it ended */
    double tangent[2][2][2]; /* forward: of y along each x, before and after a step, which take turns */
    int now;
    double (*path)[3]; /* reverse: y and the step's length, for each step */
    int64_t steps, room;
} saddle;

static bool parse(gb_run *run, const json_t *input) {
    saddle *s = run->state;
    int64_t two = 2;
    const double *start = gb_tensor(run, input, "start", 1, &two);
    if (start) memcpy(s->start, start, sizeof s->start);
    return start != NULL;
}

/* ---- programs ---- */

static ag_var height_of(ag_var x, ag_var y) { return ag_sub(ag_sum(ag_square(x)), ag_sum(ag_square(y))); }

static void height(ag_tape *tape, const ag_var *in, ag_var *out, void *context) {
    (void)tape, (void)context;
    out[0] = height_of(in[0], in[1]);
}

static void slope(ag_tape *tape, const ag_var *in, ag_var *out, void *context) {
    const saddle *s = context;
    ag_var y[2] = {ag_at(in[1], 0), ag_at(in[1], 1)}, by_y[2];
    (void)tape;
    s->mode(height_of(in[0], ag_stack(y, 2, 0)), y, 2, by_y);
    out[0] = ag_stack(by_y, 2, 0);
}

static void move(ag_tape *tape, const ag_var *in, ag_var *out, void *context) {
    ag_var by_y;
    slope(tape, in, &by_y, context);
    out[0] = ag_fma(in[2], by_y, in[1]);
}

static ag_program *program_of(saddle *s, ag_model model, gb_mode *mode) {
    const ag_port in[] = {ag_in("x", AG_SHAPE(2)), ag_in("y", AG_SHAPE(2)), ag_in("step", (ag_shape){.rank = 0})};
    s->mode = mode;
    return ag_program_trace(AG_F64, model, s, in, 3, NULL, 1);
}

/* By x and y alone, or the value and along directions of them. */
static ag_compiled *derivative_of(gb_run *run, ag_program *program) {
    const saddle *s = run->state;
    const int by[] = {0, 1}, adjoints[] = {1, 2};
    ag_program *all = s->reverse ? ag_program_vjp(program, by, 2) : ag_program_jvp(program, by, 2);
    ag_program *wanted = s->reverse ? ag_program_select(all, adjoints, 2) : all;
    if (wanted != all) ag_program_free(all);
    ag_program_free(program);
    return gb_compiled(run, wanted);
}

static bool prepare(gb_run *run, bool reverse, gb_mode *inner) {
    saddle *s = run->state;
    s->reverse = reverse;
    s->room = 1 << 16;
    s->path = gb_array(run, s->room, sizeof *s->path);
    s->height = gb_compiled(run, program_of(s, height, inner));
    s->inner_slope = gb_compiled(run, program_of(s, slope, inner));
    s->outer_slope = gb_compiled(run, program_of(s, slope, reverse ? gb_reverse : gb_forward));
    s->move = derivative_of(run, program_of(s, move, inner));
    s->height_derivative = derivative_of(run, program_of(s, height, inner));
    return !run->error[0];
}

/* The first letter is the outer mode. */
static bool prepare_ff(gb_run *run) { return prepare(run, false, gb_forward); }
static bool prepare_fr(gb_run *run) { return prepare(run, false, gb_reverse); }
static bool prepare_rf(gb_run *run) { return prepare(run, true, gb_forward); }
static bool prepare_rr(gb_run *run) { return prepare(run, true, gb_reverse); }

/* ---- the maximum by y ---- */

static const double none = 0, one = 1, unit[2][2] = {{1, 0}, {0, 1}};

static double height_at(void *context, const double *y) {
    saddle *s = context;
    double value;
    ag_compiled_run(s->height, (const double *[]){s->x, y, &none}, (double *[]){&value});
    return value;
}

static void slope_at(void *context, const double *y, double *out) {
    saddle *s = context;
    ag_compiled_run(s->slope, (const double *[]){s->x, y, &none}, (double *[]){out});
}

/* A step that was taken: tangents go along, or it is kept for the way back. */
static void keep(void *context, const double *y, double step) {
    saddle *s = context;
    double next[2], *kept = s->path[s->steps];
    if (s->steps == s->room) return;
    kept[0] = y[0], kept[1] = y[1], kept[2] = step;
    s->steps++;
    if (s->reverse) return;
    for (int i = 0; i < 2; i++)
        ag_compiled_run(s->move, (const double *[]){s->x, y, &step, unit[i], s->tangent[s->now][i]},
                        (double *[]){next, s->tangent[!s->now][i]});
    s->now = !s->now;
}

static void ascend(saddle *s, ag_compiled *by, bool kept, double *y) {
    memcpy(y, s->start, sizeof s->start);
    memset(s->tangent, 0, sizeof s->tangent);
    s->steps = s->now = 0;
    s->slope = by;
    gb_descend(&(gb_surface){s, height_at, slope_at, kept ? keep : NULL, 2, -1}, y);
}

/* ---- the minimum of that by x ---- */

static double greatest(void *context, const double *x) {
    saddle *s = context;
    memcpy(s->x, x, sizeof s->x);
    ascend(s, s->inner_slope, true, s->top);
    return height_at(s, s->top);
}

/* The descent wants it where it has just asked for the value: by the ascent from there. */
static void slope_of_greatest(void *context, const double *x, double *out) {
    saddle *s = context;
    double value, by_y[2][2], part[2];
    int now = 0;
    if (x[0] != s->x[0] || x[1] != s->x[1]) (void)greatest(s, x);
    for (int i = 0; i < 2 && !s->reverse; i++)
        ag_compiled_run(s->height_derivative, (const double *[]){x, s->top, &none, unit[i], s->tangent[s->now][i]},
                        (double *[]){&value, &out[i]});
    if (!s->reverse) return;
    ag_compiled_run(s->height_derivative, (const double *[]){x, s->top, &none, &one}, (double *[]){out, by_y[now]});
    for (int64_t k = s->steps; k-- > 0; now = !now) {
        const double *kept = s->path[k];
        ag_compiled_run(s->move, (const double *[]){x, kept, kept + 2, by_y[now]}, (double *[]){part, by_y[!now]});
        for (int i = 0; i < 2; i++) out[i] += part[i];
    }
}

static void evaluate(gb_run *run) {
    saddle *s = run->state;
    memcpy(s->result, s->start, sizeof s->start);
    gb_descend(&(gb_surface){s, greatest, slope_of_greatest, NULL, 2, 1}, s->result);
    memcpy(s->x, s->result, sizeof s->x);
    ascend(s, s->outer_slope, false, s->result + 2); /* the last ascent is in the outer mode */
    if (s->steps == s->room)
        ag_fail(run->tape, AG_ERR_VALUE, "saddle: an ascent takes more than %lld steps", (long long)s->room);
}

static json_t *print(gb_run *run) { return gb_vector(((saddle *)run->state)->result, 4); }

const gb_function gb_saddle[] = {{"saddle", "ff", sizeof(saddle), parse, prepare_ff, evaluate, print},
                                 {"saddle", "fr", sizeof(saddle), parse, prepare_fr, evaluate, print},
                                 {"saddle", "rf", sizeof(saddle), parse, prepare_rf, evaluate, print},
                                 {"saddle", "rr", sizeof(saddle), parse, prepare_rr, evaluate, print},
                                 {0}};
