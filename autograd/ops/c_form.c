/* What operations use to write themselves as loops of C. */
#include "builtin_impl.h"
#include "c_form_impl.h"

const char *ag_c_loop(int axis) {
    static const char *const names[AG_MAX_RANK] = {"i", "i1", "i2", "i3", "i4", "i5", "i6", "i7"};
    return names[axis];
}

ag_c_text ag_c_index(int rank, const int64_t *dim, const int64_t *stride, int64_t offset) {
    ag_c_text t = {""};
    size_t n = 0;
    for (int k = 0; k < rank; k++) {
        if (stride[k] == 0 || dim[k] == 1) continue;
        const char *sign = stride[k] < 0 ? n ? " - " : "-" : n ? " + " : "";
        n += (size_t)snprintf(t.text + n, sizeof t.text - n, "%s%s", sign, ag_c_loop(k));
        long long size = (long long)(stride[k] < 0 ? -stride[k] : stride[k]);
        if (size != 1) n += (size_t)snprintf(t.text + n, sizeof t.text - n, " * %lld", size);
    }
    if (offset || !n) snprintf(t.text + n, sizeof t.text - n, n ? " + %lld" : "%lld", (long long)offset);
    return t;
}

ag_c_text ag_c_index_of(const ag_view *v) { return ag_c_index(v->rank, v->dim, v->stride, 0); }

void ag_c_open(const ag_c_form *f, int axis, int64_t count) {
    const char *i = ag_c_loop(axis);
    ag_c_line(f, "for (long %s = 0; %s < %lld; %s++) {", i, i, (long long)count, i);
}

void ag_c_open_all(const ag_c_form *f, const int64_t *dim, int rank) {
    for (int k = 0; k < rank; k++) ag_c_open(f, k, dim[k]);
}

void ag_c_close(const ag_c_form *f, int n) {
    while (n-- > 0) ag_c_line(f, "}");
}

static uint32_t mask_of(const ag_c_form *f) { return ((const ag_reduction *)f->params)->mask; }

static int open_axes(const ag_c_form *f, bool reduced) {
    const ag_view *v = f->views[0];
    int n = 0;
    for (int k = 0; k < v->rank; k++) {
        if (((mask_of(f) >> k & 1) != 0) != reduced || v->dim[k] == 1) continue;
        ag_c_open(f, k, v->dim[k]);
        n++;
    }
    return n;
}

int ag_c_kept(const ag_c_form *f) { return open_axes(f, false); }
int ag_c_reduced(const ag_c_form *f) { return open_axes(f, true); }

ag_c_text ag_c_result_index(const ag_c_form *f) {
    const ag_view *v = f->views[0];
    int64_t stride[AG_MAX_RANK] = {0}, step = 1;
    for (int k = v->rank - 1; k >= 0; k--) {
        if (mask_of(f) >> k & 1) continue;
        stride[k] = step;
        step *= v->dim[k];
    }
    return ag_c_index(v->rank, v->dim, stride, 0);
}

void ag_c_most(const ag_c_form *f, ag_opcode op) {
    ag_c_use(f, op);
    ag_c_line(f, "%s most = %sINFINITY;", f->number, op == AG_MAX ? "-" : "");
    int n = ag_c_reduced(f);
    ag_c_line(f, "most = ad_%s%s(most, %s[%s]);", ag_op_table[op].name, f->suffix, f->in[0],
              ag_c_index_of(f->views[0]).text);
    ag_c_close(f, n);
}

bool ag_c_form_checks(const ag_operation *operation) {
    const ag_operation *const all[] = {
        ag_builtin_solve,    ag_builtin_solve_triangular, ag_builtin_inverse,        ag_builtin_logdet,
        ag_builtin_cholesky, ag_builtin_gather_at,        ag_builtin_scatter_add_at, ag_builtin_cross_entropy_at,
    };
    for (size_t k = 0; k < sizeof all / sizeof *all; k++)
        if (operation == all[k]) return true;
    return false;
}
