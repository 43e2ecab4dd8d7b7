/* What operations that run programs share: shapes of operands, and results that lie one after the other. */
#include "../ops/structural_impl.h"
#include "program_impl.h"

bool ag_rows_shape(ag_port port, int64_t rows, ag_along along, ag_shape *shape) {
    int64_t count;
    *shape = port.shape;
    if (along == AG_EACH) {
        if (port.shape.rank == AG_MAX_RANK) return false;
        for (int i = shape->rank++; i > 0; i--) shape->dim[i] = shape->dim[i - 1];
        shape->dim[0] = rows;
    }
    return ag_shape_count(*shape, &count);
}

int64_t ag_rows_count(ag_port port, int64_t rows, ag_along along) {
    ag_shape shape;
    int64_t count = 0;
    if (ag_rows_shape(port, rows, along, &shape)) ag_shape_count(shape, &count);
    return count;
}

bool ag_equal_shapes(ag_shape a, ag_shape b) {
    bool same = a.rank == b.rank;
    for (int i = 0; same && i < a.rank; i++) same = a.dim[i] == b.dim[i];
    return same;
}

bool ag_takes_shape(const ag_call *call, const char *what, int k, const char *name, ag_shape shape) {
    const ag_view *v = call->in[k].view;
    bool fits = shape.rank == v->rank;
    for (int i = 0; fits && i < v->rank; i++) fits = shape.dim[i] == v->dim[i];
    if (!fits)
        ag_fail(call->tape, AG_ERR_SHAPE, "%s: input %s takes shape %s, not %s", what, name, ag_show_shape(shape).text,
                ag_show_view(v).text);
    return fits;
}

ag_var ag_next_part(ag_var flat, int64_t *at, ag_shape shape) {
    int64_t stride[AG_MAX_RANK], from = *at, count = 0;
    ag_shape_count(shape, &count);
    ag_row_major(shape.rank, shape.dim, stride);
    *at += count;
    return ag_view_of(flat, from, shape, stride);
}

bool ag_program_given(ag_tape *t, const ag_program *p, const char *what, const ag_var *xs, const ag_var *ys) {
    return (ag_program_inputs(p) == 0 || ag_given(t, what, "the array of inputs", xs)) &&
           (ag_program_outputs(p) == 0 || ag_given(t, what, "the array of outputs", ys));
}

bool ag_program_fits(ag_tape *t, const ag_program *p, const char *what) {
    if (ag_program_status(p) != AG_OK) ag_fail(t, ag_program_status(p), "%s: %s", what, ag_program_message(p));
    else if (p->type != t->type)
        ag_fail(t, AG_ERR_VALUE, "%s: the program is of another precision than the tape", what);
    return t->status == AG_OK;
}
