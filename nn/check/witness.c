/* Two independent witnesses of a derivative: forward mode, and central differences. */
#include "nn/check/check_impl.h"
#include "nn/check/functions.h"
#include "nn/compare.h"
#include "nn/memory.h"
#include "nn/random.h"

#include <math.h>

enum { MOST_DERIVATIVES = 8, FEW_NUMBERS = 3, RANDOM_DIRECTIONS = 2 };

int ac_find_derivatives(const ac_node *node, const ac_node **found, int most) {
    int count = 0;
    if (most <= 0) return 0;
    if (ac_is_derivative(node)) {
        *found = node;
        return 1;
    }
    for (int i = 0; i < node->operand_count; i++)
        if (node->operands[i] != NULL) count += ac_find_derivatives(node->operands[i], found + count, most - count);
    return count;
}

/* A derivative at a point, and a direction there. */
typedef struct question {
    ac_trial *trial;
    const ac_node *node;
    ac_symbol *name;    /* x, or what x is an entry or slice of */
    ag_var y, x, d;     /* d = dy / dx, as the tape has it */
    int64_t ny, nx, n;  /* numbers in y, x and the name's value */
    double *v;          /* nx: the direction; then: */
    double *positions;  /* nx: of x in the name's value */
    double *point;      /* n: the name's value */
    double *moved;      /* n */
    double *answers[7]; /* ny each: by the tape, forward mode, differences, their doubt; work space */
    double *memory;
} question;

/* What is differentiated to give d: f, or the gradient of it. */
static ag_var inner(const question *q, ag_var f, ag_var x) {
    if (q->node->kind != AC_HESS) return f;
    ag_var g = x;
    ag_gradient(f, &x, 1, &g);
    return g;
}

static bool allocate(question *q) {
    size_t n = (size_t)q->n, nx = (size_t)q->nx, ny = (size_t)q->ny;
    q->memory = nn_allocate(2 * nx + 2 * n + 7 * ny, sizeof *q->memory);
    if (q->memory == NULL) return ac_fail(q->trial->e->error, q->node->span, "out of memory");
    q->v = q->memory;
    q->positions = q->v + nx;
    q->point = q->positions + nx;
    q->moved = q->point + n;
    for (int i = 0; i < 7; i++) q->answers[i] = q->moved + n + (size_t)i * ny;
    return true;
}

/* Where x lies in the name's value: the same index applied to 0, 1, 2, ... */
static bool find_positions(question *q) {
    ac_evaluator *e = q->trial->e;
    ag_var old = e->values[q->name->index];
    e->values[q->name->index] = ag_reshape(ag_arange(e->tape, 0, 1, q->n), ag_shape_of(old));
    ag_var x = ac_evaluate(e, q->node->operands[1], q->trial->statement->frame_size);
    e->values[q->name->index] = old;
    if (e->error->set) return false;
    ag_read(x, q->positions);
    ag_read(old, q->point);
    return true;
}

static bool ask(question *q) {
    ac_evaluator *e = q->trial->e;
    int frame = q->trial->statement->frame_size;
    const ac_node *x = q->node->operands[1];
    while (x->kind == AC_INDEX) x = x->operands[0];
    q->name = x->symbol;
    if (q->name->kind == AC_LOCAL) return false; /* within an equation: not a point of its own */
    q->x = ac_evaluate(e, q->node->operands[1], frame);
    ag_var f = e->error->set ? q->x : ac_evaluate(e, q->node->operands[0], frame);
    if (e->error->set) return false;
    q->d = ac_derivative(e, q->node, f, q->x);
    q->y = inner(q, f, q->x);
    if (!ac_is_fine(e, q->node->span)) return false;
    q->nx = ag_count(q->x);
    q->ny = ag_count(q->y);
    q->n = ag_count(e->values[q->name->index]);
    return allocate(q) && find_positions(q);
}

/* Few entries: one after the other. Many: random signs. */
static void choose_direction(const question *q, int which, nn_random *random) {
    double each = 1 / sqrt((double)q->nx);
    for (int64_t i = 0; i < q->nx; i++)
        q->v[i] = q->nx <= FEW_NUMBERS ? i == which : copysign(each, (double)(int64_t)nn_random_bits(random));
}

static ag_var as_var(const question *q, const double *data, ag_var like) {
    ag_shape shape = ag_shape_of(like);
    return shape.rank == 0 ? ag_input(q->trial->e->tape, *data) : ag_tensor(q->trial->e->tape, data, shape);
}

/* d times the direction. */
static void answer_tape(const question *q, const double *d, double *answer) {
    for (int64_t i = 0; i < q->ny; i++) {
        answer[i] = 0;
        for (int64_t j = 0; j < q->nx; j++) answer[i] += q->v[j] == 0 ? 0 : d[i * q->nx + j] * q->v[j];
    }
}

static bool answer_forward(const question *q, double *answer) {
    ag_var v = as_var(q, q->v, q->x), tangent = v;
    if (ag_is_constant(q->y)) {
        for (int64_t i = 0; i < q->ny; i++) answer[i] = 0;
        return true;
    }
    ag_jvp(&q->y, 1, &q->x, &v, 1, &tangent);
    if (!ac_is_fine(q->trial->e, q->node->span)) return false;
    ag_read(tangent, answer);
    return true;
}

/* y with the name's value moved by h along the direction. */
static bool move(const question *q, double h, double *y) {
    ac_evaluator *e = q->trial->e;
    const ac_statement *s = q->trial->statement;
    ag_mark mark = ag_tape_mark(e->tape);
    memcpy(q->moved, q->point, (size_t)q->n * sizeof *q->moved);
    for (int64_t i = 0; i < q->nx; i++) q->moved[(int64_t)q->positions[i]] += h * q->v[i];
    ag_var value = as_var(q, q->moved, e->values[q->name->index]);
    ag_var result = value;
    if (q->node->kind != AC_HESS) {
        result = ac_record_with(e, q->node->operands[0], s->uses, s->use_count, s->frame_size, q->name, value);
    } else {
        ac_node gradient = *q->node;
        gradient.kind = AC_GRAD;
        result = ac_record_with(e, &gradient, s->uses, s->use_count, s->frame_size, q->name, value);
    }
    bool fine = ac_is_fine(e, q->node->span) && ag_count(result) == q->ny;
    if (fine) ag_read(result, y);
    ag_tape_rewind(e->tape, mark);
    return fine;
}

/* (y(h) - y(-h)) / 2h. */
static bool difference(const question *q, double h, double *d, double *work) {
    if (!move(q, h, d) || !move(q, -h, work)) return false;
    for (int64_t i = 0; i < q->ny; i++) d[i] = (d[i] - work[i]) / (2 * h);
    return true;
}

static bool is_finite(const double *x, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        if (!isfinite(x[i])) return false;
    return true;
}

/* By a step and its half, extrapolated (Richardson), and how far these are apart: how good the result is. False if they
 * are not finite. */
static bool extrapolate(const question *q, double h, double *answer, double *doubt, double *work) {
    if (!difference(q, h, doubt, work) || !difference(q, h / 2, answer, work)) return false;
    for (int64_t i = 0; i < q->ny; i++) {
        double half = answer[i];
        answer[i] = half + (half - doubt[i]) / 3;
        doubt[i] = fabs(half - doubt[i]);
    }
    return is_finite(doubt, q->ny) && is_finite(answer, q->ny);
}

/* The greatest doubt, in terms of the greatest answer. */
static double relative_doubt(const question *q, const double *answer, const double *doubt) {
    double size = 1e-6, most = 0;
    for (int64_t i = 0; i < q->ny; i++) {
        size = fmax(size, fabs(answer[i]));
        most = fmax(most, doubt[i]);
    }
    return most / size;
}

/* Smaller steps near the end of a domain, and for what changes fast: those with the least doubt are taken. */
static bool answer_differences(const question *q, double *answer, double *doubt, double *const work[3]) {
    double size = 1, least = INFINITY;
    for (int64_t i = 0; i < q->n; i++) size = fmax(size, fabs(q->point[i]));
    double h = 1e-3 * size;
    for (int i = 0; i < 4 && least > 1e-3; i++, h /= 100) {
        bool finite = extrapolate(q, h, work[0], work[1], work[2]);
        if (!ac_is_fine(q->trial->e, q->node->span)) return false;
        double now = finite ? relative_doubt(q, work[0], work[1]) : INFINITY;
        if (!(now < least)) continue;
        least = now;
        memcpy(answer, work[0], (size_t)q->ny * sizeof *answer);
        memcpy(doubt, work[1], (size_t)q->ny * sizeof *doubt);
    }
    return isfinite(least);
}

static void disagree(const question *q, const char *way, double tape, double other) {
    ac_witness *w = &q->trial->finding->witness;
    if (!w->agrees) return;
    w->agrees = false;
    w->way = way;
    w->tape = tape;
    w->other = other;
    ac_text_of(&q->trial->e->file->source, q->node->span, w->text, sizeof w->text);
}

static void compare(const question *q) {
    double size = 1, *const *a = q->answers;
    for (int64_t i = 0; i < q->ny; i++)
        if (isfinite(a[0][i])) size = fmax(size, fabs(a[0][i]));
    for (int64_t i = 0; i < q->ny; i++)
        if (a[1][i] != a[0][i] && !(fabs(a[1][i] - a[0][i]) <= 1e-8 * size))
            disagree(q, "forward mode", a[0][i], a[1][i]);
    for (int64_t i = 0; i < q->ny; i++)
        if (!isinf(a[0][i]) && !(fabs(a[2][i] - a[0][i]) <= 1e-5 * size + 2 * a[3][i]))
            disagree(q, "central differences", a[0][i], a[2][i]);
}

static void ask_about(ac_trial *trial, const ac_node *node) {
    ac_evaluator *e = trial->e;
    question q = {.trial = trial, .node = node};
    nn_random random = {1};
    double *d = NULL;
    if (ask(&q)) {
        d = nn_allocate((size_t)ag_count(q.d), sizeof *d);
        if (d == NULL) ac_fail(e->error, node->span, "out of memory");
        else ag_read(q.d, d);
        int directions = q.nx <= FEW_NUMBERS ? (int)q.nx : RANDOM_DIRECTIONS;
        for (int i = 0; i < directions && d != NULL && !e->error->set; i++) {
            choose_direction(&q, i, &random);
            answer_tape(&q, d, q.answers[0]);
            if (answer_forward(&q, q.answers[1]) && answer_differences(&q, q.answers[2], q.answers[3], q.answers + 4))
                compare(&q);
        }
    }
    nn_release(d);
    nn_release(q.memory);
}

/* Without locals, what is written alike is the same derivative: names are defined once. */
static bool is_written_alike(const ac_trial *trial, ac_span a, ac_span b) {
    const char *text = trial->e->file->source.text;
    return trial->statement->frame_size == 0 && a.end - a.start == b.end - b.start &&
           memcmp(text + a.start, text + b.start, a.end - a.start) == 0;
}

static bool is_agreed(const ac_trial *trial, const ac_node *node, int draw) {
    const ac_agreed *a = trial->agreed;
    for (int i = 0; i < a->count && i < AC_MOST_AGREED; i++)
        if (a->list[i].draw == draw && is_written_alike(trial, a->list[i].span, node->span)) return true;
    return false;
}

static void note_agreed(ac_agreed *a, const ac_node *node, int draw) {
    a->list[a->count % AC_MOST_AGREED].span = node->span;
    a->list[a->count++ % AC_MOST_AGREED].draw = draw;
}

void ac_ask_witnesses(ac_trial *trial, int draw) {
    ac_evaluator *e = trial->e;
    const ac_node *found[MOST_DERIVATIVES];
    int count = ac_find_derivatives(trial->left, found, MOST_DERIVATIVES);
    ac_witness *w = &trial->finding->witness;
    if (!w->asked) w->agrees = true;
    w->asked = count > 0;
    for (int i = 0; i < count && !e->error->set; i++) {
        if (is_agreed(trial, found[i], draw)) continue;
        ag_mark mark = ag_tape_mark(e->tape);
        if (ac_go_to_draw(trial, draw)) ask_about(trial, found[i]);
        bool asked = !e->error->set;
        if (!asked) ac_forgive(e); /* beside the point there may be nothing: no witness then */
        ag_tape_rewind(e->tape, mark);
        if (asked && w->agrees) note_agreed(trial->agreed, found[i], draw);
    }
}
