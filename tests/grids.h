/* An elementwise operation on operands of all layouts, broadcast to (rows, columns): its values, sweep, recorded
 * derivatives and tangents against the table's scalar functions, applied element by element. */
#ifndef GRIDS_H
#define GRIDS_H

#include "operations.h"

typedef enum layout { PLAIN, TRANSPOSED, BACKWARDS, STEPPED, SPREAD, COLUMN, ROW, SCALAR, ONE, LAYOUTS } layout;

/* An input whose view by `kind` is broadcast to (rows, columns), and its element there at (i, j). */
static ag_shape layout_shape(layout kind, int64_t rows, int64_t columns) {
    switch (kind) {
    case TRANSPOSED: return AG_SHAPE(columns, rows);
    case STEPPED: return AG_SHAPE(2 * rows, columns);
    case SPREAD:
    case COLUMN: return AG_SHAPE(rows, 1);
    case ROW: return AG_SHAPE(columns);
    case SCALAR: return (ag_shape){0};
    case ONE: return AG_SHAPE(1, 1);
    default: return AG_SHAPE(rows, columns);
    }
}

static ag_var layout_view(layout kind, ag_var x, int64_t rows, int64_t columns) {
    switch (kind) {
    case TRANSPOSED: return ag_transpose(x);
    case BACKWARDS: return ag_flip(ag_flip(x, 0), 1);
    case STEPPED: return ag_slice(x, 0, 1, AG_END, 2);
    case SPREAD: return ag_expand(x, AG_SHAPE(rows, columns));
    default: return x;
    }
}

static int64_t layout_element(layout kind, int64_t rows, int64_t columns, int64_t i, int64_t j) {
    switch (kind) {
    case TRANSPOSED: return j * rows + i;
    case BACKWARDS: return (rows - 1 - i) * columns + columns - 1 - j;
    case STEPPED: return (2 * i + 1) * columns + j;
    case SPREAD:
    case COLUMN: return i;
    case ROW: return j;
    case SCALAR:
    case ONE: return 0;
    default: return i * columns + j;
    }
}

/* One operation on operands of given layouts: data, tangents, and the right answers. */
typedef struct grid {
    const op_domain *domain;
    layout kind[3];
    int64_t rows, columns, count[3];
    double *x[3], *v[3], *adjoint[3]; /* of the inputs */
    double *w, *value, *tangent;      /* of the result */
} grid;

static void grid_open(grid *g, uint64_t *state) {
    int64_t n = g->rows * g->columns;
    for (int k = 0; k < 3; k++) {
        g->count[k] = shape_count(layout_shape(g->kind[k], g->rows, g->columns));
        g->x[k] = new_numbers(g->count[k]);
        g->v[k] = new_numbers(g->count[k]);
        g->adjoint[k] = new_numbers(g->count[k]);
        draw_operand(g->domain, k, state, g->x[k], g->count[k]);
        for (int64_t i = 0; i < g->count[k]; i++) g->v[k][i] = (double)(float)random_number(state, -1, 1);
    }
    g->w = new_numbers(n);
    g->value = new_numbers(n);
    g->tangent = new_numbers(n);
    for (int64_t i = 0; i < n; i++) g->w[i] = (double)(float)random_number(state, -1, 1);
    const ag_op_info *info = &ag_op_table[g->domain->op];
    for (int64_t i = 0; i < n; i++) {
        int64_t at[3];
        double p[3];
        for (int k = 0; k < 3; k++)
            at[k] = layout_element(g->kind[k], g->rows, g->columns, i / g->columns, i % g->columns);
        double x = g->x[0][at[0]], y = g->x[1][at[1]], z = g->x[2][at[2]];
        g->value[i] = info->value(x, y, z);
        info->partials(x, y, z, g->value[i], p);
        for (int k = 0; k < info->arity; k++) {
            g->adjoint[k][at[k]] += g->w[i] * p[k];
            g->tangent[i] += p[k] * g->v[k][at[k]];
        }
    }
}

static void grid_close(grid *g) {
    for (int k = 0; k < 3; k++) free(g->x[k]), free(g->v[k]), free(g->adjoint[k]);
    free(g->w), free(g->value), free(g->tangent);
}

static void grid_check(const grid *g, ag_type type) {
    const ag_op_info *info = &ag_op_table[g->domain->op];
    ag_tape *t = fresh_tape(type);
    double tolerance = type == AG_F64 ? 1e-12 : 2e-3;
    ag_shape shape = AG_SHAPE(g->rows, g->columns);
    char label[96];
    snprintf(label, sizeof label, "%s, layouts %d %d %d of (%d, %d), %s", info->name, (int)g->kind[0], (int)g->kind[1],
             (int)g->kind[2], (int)g->rows, (int)g->columns, type == AG_F64 ? "f64" : "f32");
    ag_var x[3], v[3], view[3], out[3], tangent;
    for (int k = 0; k < info->arity; k++) {
        ag_shape s = layout_shape(g->kind[k], g->rows, g->columns);
        x[k] = ag_tensor(t, g->x[k], s);
        v[k] = ag_constant_tensor(t, g->v[k], s);
        view[k] = layout_view(g->kind[k], x[k], g->rows, g->columns);
    }
    ag_var y = ag_expand(apply_op(g->domain->op, view), shape), w = ag_constant_tensor(t, g->w, shape);
    check_values(label, y, shape, g->value, type == AG_F64 ? 1e-14 : 1e-5);
    ag_sweep(&y, &w, 1, AG_RESET);
    ag_vjp(&y, &w, 1, x, info->arity, out);
    ag_jvp(&y, 1, x, v, info->arity, &tangent);
    check_fine(label, t);
    for (int k = 0; k < info->arity; k++) {
        double *got = new_numbers(g->count[k]);
        ag_read_grad(x[k], got);
        check_numbers(label, "adjoint", got, g->adjoint[k], g->count[k], tolerance);
        ag_read(out[k], got);
        check_numbers(label, "recorded", got, g->adjoint[k], g->count[k], tolerance);
        free(got);
    }
    check_values(label, tangent, shape, g->tangent, tolerance);
}

#endif
