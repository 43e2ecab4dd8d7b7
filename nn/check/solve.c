#include "nn/check/solve.h"

#include "nn/check/functions.h"
#include "nn/memory.h"

#include <math.h>

enum { MOST_STEPS = 100, MOST_HALVINGS = 40, MOST_UNKNOWNS = 1000 };

/* An equation on its way to its solution. */
typedef struct newton {
    ac_evaluator *e;
    const ac_node *node;
    ag_shape shape;
    int64_t n;
    double *x, *step, *trial; /* n each, in one piece */
} newton;

/* left - right at an x, which is a vector of n; a vector of n too. */
static ag_var residual(const newton *s, ag_var x) {
    ac_evaluator *e = s->e;
    ag_var sides[2];
    char left[80], right[80];
    e->locals[e->base + s->node->symbol->index] = ag_reshape(x, s->shape);
    for (int i = 0; i < 2; i++) {
        sides[i] = ac_record(e, s->node->operands[i]);
        if (e->error->set) return x;
    }
    ag_shape a = ag_shape_of(sides[0]), b = ag_shape_of(sides[1]);
    bool equal = a.rank == b.rank && (a.rank < 1 || a.dim[0] == b.dim[0]) && (a.rank < 2 || a.dim[1] == b.dim[1]);
    ag_var difference = x;
    if (a.rank > 0 && b.rank > 0 && !equal)
        ac_fail(e->error, s->node->span, "the sides of the equation are %s and %s",
                ac_shape_words(a, left, sizeof left), ac_shape_words(b, right, sizeof right));
    else difference = ag_sub(sides[0], sides[1]);
    if (!e->error->set && ag_count(difference) != s->n)
        ac_fail(e->error, s->node->span, "%lld equation%s for %lld unknown%s", (long long)ag_count(difference),
                ag_count(difference) == 1 ? "" : "s", (long long)s->n, s->n == 1 ? "" : "s");
    return e->error->set ? x : ag_reshape(difference, AG_SHAPE(-1));
}

/* x - J^-1 F(x), recorded, with J. */
static ag_var newton_step(const newton *s, ag_var x, ag_var *jacobian) {
    ag_var f = residual(s, x);
    if (!ac_is_fine(s->e, s->node->span)) return x;
    if (ag_is_constant(f)) {
        ac_fail(s->e->error, s->node->span, "the equation does not depend on '%s'", s->node->symbol->name);
        return x;
    }
    *jacobian = ag_jacobian(f, x);
    return ag_sub(x, ag_solve(*jacobian, f));
}

static bool is_finite(ag_var x) { return ag_value(ag_sum(ag_mul(ag_detach(x), 0.0))) == 0; }

/* The greatest |F| at x; NaN if there is one. */
static double error_at(const newton *s, const double *x) {
    ag_mark mark = ag_tape_mark(s->e->tape);
    ag_var f = residual(s, ag_tensor(s->e->tape, x, AG_SHAPE(s->n)));
    double greatest = NAN;
    if (ac_is_fine(s->e, s->node->span)) greatest = ag_value(ag_max_over(ag_abs(f), ag_all_(), false));
    ag_tape_rewind(s->e->tape, mark);
    return greatest;
}

static bool compute_step(const newton *s) {
    ag_tape *t = s->e->tape;
    ag_mark mark = ag_tape_mark(t);
    ag_var jacobian, next = newton_step(s, ag_tensor(t, s->x, AG_SHAPE(s->n)), &jacobian);
    bool singular = ag_tape_status(t) == AG_ERR_SINGULAR, finite = true;
    if (singular) ag_tape_recover(t);
    else if (ac_is_fine(s->e, s->node->span)) {
        finite = is_finite(jacobian) && is_finite(next);
        ag_read(next, s->step);
    }
    ag_tape_rewind(t, mark);
    for (int64_t i = 0; i < s->n; i++) s->step[i] -= s->x[i];
    if (!s->e->error->set && (singular || !finite))
        ac_fail(s->e->error, s->node->span, "solve: the derivative by '%s' is %s at %s = %g%s", s->node->symbol->name,
                singular ? "singular" : "not finite", s->node->symbol->name, s->x[0], s->n > 1 ? ", ..." : "");
    return !s->e->error->set;
}

/* Goes along the step as far as the error falls; returns the error there. */
static double advance(const newton *s, double error) {
    double share = 1, next = NAN;
    for (int i = 0; i < MOST_HALVINGS && !s->e->error->set; i++, share /= 2) {
        for (int64_t k = 0; k < s->n; k++) s->trial[k] = s->x[k] + share * s->step[k];
        next = error_at(s, s->trial);
        if (next < error || next == 0) break;
    }
    if (!(next < error)) return error; /* rounding is all that is left, or nothing leads on */
    memcpy(s->x, s->trial, (size_t)s->n * sizeof *s->x);
    return next;
}

static double size_of(const double *x, int64_t n) {
    double size = 0;
    for (int64_t i = 0; i < n; i++) size = fmax(size, fabs(x[i]));
    return size;
}

static bool converge(const newton *s) {
    const char *name = s->node->symbol->name;
    double error = error_at(s, s->x);
    for (int i = 0; i < MOST_STEPS && !s->e->error->set; i++) {
        if (error == 0) return true;
        if (!isfinite(error))
            return ac_fail(s->e->error, s->node->span, "solve: the equation is not finite at %s = %g%s", name, s->x[0],
                           s->n > 1 ? ", ..." : "");
        if (!compute_step(s)) return false;
        if (size_of(s->step, s->n) <= 1e-10 * fmax(1e-3, size_of(s->x, s->n))) return true;
        error = advance(s, error);
    }
    return ac_fail(s->e->error, s->node->span, "solve did not converge in %d steps: %s = %g%s leaves an error of %.3g",
                   MOST_STEPS, name, s->x[0], s->n > 1 ? ", ..." : "", error);
}

static ag_var record_solution(const newton *s) {
    ag_var x = ag_tensor(s->e->tape, s->x, AG_SHAPE(s->n));
    for (int order = 0; order <= s->e->file->nesting && !s->e->error->set; order = 2 * order + 1)
        x = newton_step(s, x, &(ag_var){0});
    return s->e->error->set ? x : ag_reshape(x, s->shape);
}

ag_var ac_solve(ac_evaluator *e, const ac_node *node) {
    ag_var start = ac_record(e, node->operands[2]);
    if (e->error->set) return start;
    newton s = {.e = e, .node = node, .shape = ag_shape_of(start), .n = ag_count(start)};
    if (e->tracing) { /* how many steps it takes depends on values */
        ac_fail(e->error, node->span, "an equation is no part of a program");
        return start;
    }
    if (s.n > MOST_UNKNOWNS) {
        ac_fail(e->error, node->span, "%lld unknowns, more than the limit of %d", (long long)s.n, MOST_UNKNOWNS);
        return start;
    }
    s.x = nn_allocate((size_t)s.n, 3 * sizeof *s.x);
    if (s.x == NULL) {
        ac_fail(e->error, node->span, "out of memory");
        return start;
    }
    s.step = s.x + s.n;
    s.trial = s.step + s.n;
    ag_read(start, s.x);
    ag_var solution = converge(&s) ? record_solution(&s) : start;
    nn_release(s.x);
    return solution;
}
