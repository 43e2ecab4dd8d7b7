/* The numbers of quantified names: the same ones for the same seed, whoever asks for them, in whatever order. */
#include "nn/check/evaluate.h"
#include "nn/check/functions.h"
#include "nn/memory.h"
#include "nn/random.h"

#include <math.h>

enum { KEPT_DRAWS = 64 << 20 }; /* bytes */

/* Numbers that say how large a quantified name is, or where it lies. */
static bool read_parameters(ac_evaluator *e, const ac_symbol *s, double limit[2], ag_shape *shape) {
    ag_var values[4];
    ac_node node = {.kind = AC_CALL, .span = s->span, .operands = s->parameters};
    ac_call call = {e->tape, e->error, &node, values, s->parameter_count, e->tracing};
    int limits = s->distribution == AC_UNIFORM ? 2 : 0;
    shape->rank = s->parameter_count - limits;
    double count = 1;
    for (int i = 0; i < s->parameter_count; i++) {
        values[i] = ac_record(e, s->parameters[i]);
        if (e->error->set) return false;
        if (i < limits && ag_shape_of(values[i]).rank != 0)
            return ac_fail(e->error, s->parameters[i]->span, "a limit of uniform is not a number");
        if (i < limits) limit[i] = ag_value(values[i]);
        else if (!ac_whole(&call, i, "a length", 1, AC_MAX_NUMBERS, &shape->dim[i - limits])) return false;
        if (i >= limits) count *= (double)shape->dim[i - limits];
    }
    if (limits > 0 && !(limit[0] <= limit[1] && isfinite(limit[1] - limit[0])))
        return ac_fail(e->error, s->span, "uniform from %g to %g is empty", limit[0], limit[1]);
    return count <= AC_MAX_NUMBERS || ac_fail(e->error, s->span, "'%s' has %.0f numbers, more than the limit of %d",
                                              s->name, count, AC_MAX_NUMBERS);
}

/* By a stream of its own for each name and draw. */
static void fill(const ac_evaluator *e, const ac_symbol *s, int draw, double *x) {
    const ac_draws *d = &e->draws[s->index];
    nn_random random = {e->seed};
    random.state = nn_random_bits(&random) + (uint64_t)s->index;
    random.state = nn_random_bits(&random) + (uint64_t)draw;
    switch (s->distribution) {
    case AC_NORMAL: nn_fill_normal(&random, x, d->count, 1); break;
    case AC_UNIFORM:
        for (int64_t i = 0; i < d->count; i++) x[i] = nn_random_uniform(&random, d->limit[0], d->limit[1]);
        break;
    case AC_POSITIVE: nn_fill_positive(&random, x, d->count); break;
    case AC_ONEHOT: nn_fill_one_hot(&random, x, 1, d->count); break;
    case AC_SIMPLEX: nn_fill_simplex(&random, x, 1, d->count); break;
    }
}

/* Room for so many draws, as long as that is not too much. */
static bool make_room(ac_evaluator *e, ac_draws *d, int room) {
    const size_t most = e->file->limits.bytes / 8 < KEPT_DRAWS ? e->file->limits.bytes / 8 : KEPT_DRAWS;
    if (room <= d->room) return true;
    double more = (double)(room - d->room) * (double)d->count;
    if ((double)e->drawn + more > (double)(most / sizeof *d->x)) return false;
    double *x = nn_allocate((size_t)room * (size_t)d->count, sizeof *x);
    if (x == NULL) return false;
    if (d->made > 0) memcpy(x, d->x, (size_t)(d->made * d->count) * sizeof *x);
    nn_release(d->x);
    d->x = x;
    d->room = room;
    e->drawn += (size_t)more;
    return true;
}

static void set_count(ac_evaluator *e, ac_draws *d, int64_t count) {
    if (d->count != count) {
        e->drawn -= (size_t)(d->room * d->count);
        nn_release(d->x);
        *d = (ac_draws){.count = count};
    }
}

bool ac_keep_draws(ac_evaluator *e, const ac_symbol *s, int draws) { return make_room(e, &e->draws[s->index], draws); }

void ac_draws_are_made(ac_evaluator *e, const ac_symbol *s, int draws) {
    ac_draws *d = &e->draws[s->index];
    if (d->made < draws && draws <= d->room) d->made = draws;
}

const double *ac_draw_numbers(const ac_evaluator *e, const ac_symbol *s, int draw, double *own) {
    const ac_draws *d = &e->draws[s->index];
    double *x = draw < d->room ? d->x + draw * d->count : own;
    if (draw >= d->made) fill(e, s, draw, x);
    return x;
}

/* Keeps draws as they come, one after the other. */
static void keep_next(ac_evaluator *e, const ac_symbol *s) {
    ac_draws *d = &e->draws[s->index];
    if (e->draw == d->made && make_room(e, d, d->made < d->room ? d->room : d->room > 0 ? 2 * d->room : 8)) {
        fill(e, s, e->draw, d->x + d->made * d->count);
        d->made++;
    }
}

ag_var ac_draw_value(ac_evaluator *e, const ac_symbol *s) {
    ac_draws *d = &e->draws[s->index];
    double limit[2] = {0, 0}, *own = NULL;
    ag_shape shape = {0, {0}};
    if (!read_parameters(e, s, limit, &shape)) return ag_num(NAN);
    int64_t count = shape.rank == 0 ? 1 : shape.dim[0] * (shape.rank > 1 ? shape.dim[1] : 1);
    set_count(e, d, count);
    memcpy(d->limit, limit, sizeof limit);
    keep_next(e, s);
    if (e->draw >= d->room) own = nn_allocate((size_t)count, sizeof *own);
    const double *x = e->draw < d->room || own != NULL ? ac_draw_numbers(e, s, e->draw, own) : NULL;
    if (x == NULL) ag_fail(e->tape, AG_ERR_MEMORY, "out of memory");
    ag_var value = shape.rank == 0 ? ag_input(e->tape, x == NULL ? 0 : *x) : ag_tensor(e->tape, x, shape);
    nn_release(own);
    return value;
}
