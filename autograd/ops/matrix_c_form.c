/* Linear algebra in printed programs: loops over a batch that call functions of routines.inc. */
#include "c_form_impl.h"
#include "matrix_impl.h"

#define LL(n) ((long long)(n))

static int64_t side(const ag_c_form *f) { return f->views[0]->dim[f->views[0]->rank - 1]; }
static int batch_rank(const ag_c_form *f) { return f->views[0]->rank - 2; }

/* "+ i * 9": where a matrix of the batch begins, of `count` numbers each. */
static ag_c_text batch_of(const ag_c_form *f, int64_t count) {
    const ag_view *a = f->views[0];
    int64_t stride[AG_MAX_RANK];
    ag_row_major(batch_rank(f), a->dim, stride);
    for (int i = 0; i < batch_rank(f); i++) stride[i] *= count;
    return ag_c_index(batch_rank(f), a->dim, stride, 0);
}

static const char *row(const ag_c_form *f) { return ag_c_loop(batch_rank(f)); }
static const char *column(const ag_c_form *f) { return ag_c_loop(batch_rank(f) + 1); }

/* to = matrix k of the batch, row-major; or its transpose. */
static void copy_matrix(const ag_c_form *f, int k, const char *to, bool transposed) {
    int axis = batch_rank(f);
    ag_c_open(f, axis, side(f));
    ag_c_open(f, axis + 1, side(f));
    ag_c_line(f, "%s[%s * %lld + %s] = %s[%s];", to, transposed ? column(f) : row(f), LL(side(f)),
              transposed ? row(f) : column(f), f->in[k], ag_c_index_of(f->views[k]).text);
    ag_c_close(f, 2);
}

/* Factors of the first operand, for each of the batch; the loop stays open. */
typedef struct ag_c_factors {
    ag_c_text a, pivot;
} ag_c_factors;

static ag_c_factors open_factors(const ag_c_form *f, const char *what) {
    int64_t n = side(f);
    ag_c_factors lu = {ag_c_work(f, n * n), ag_c_work(f, n)};
    char singular[64];
    ag_c_need(f, "lu");
    ag_c_open_all(f, f->views[0]->dim, batch_rank(f));
    copy_matrix(f, 0, lu.a.text, true);
    if (what) {
        snprintf(singular, sizeof singular, "%s: a singular matrix", what);
        ag_c_line(f, "if (ad_lu%s(%lld, %s, %s)) return %d;", f->suffix, LL(n), lu.a.text, lu.pivot.text,
                  ag_c_check(f, singular));
    } else {
        ag_c_line(f, "ad_lu%s(%lld, %s, %s);", f->suffix, LL(n), lu.a.text, lu.pivot.text);
    }
    return lu;
}

/* Columns of the right side of a system. */
static int64_t columns(const ag_c_form *f) {
    const ag_view *a = f->views[0], *b = f->views[1];
    return b->rank == a->rank ? b->dim[b->rank - 1] : 1;
}

/* The right side into the result, of one matrix of the batch. */
static void copy_right(const ag_c_form *f) {
    const ag_view *b = f->views[1];
    int64_t stride[AG_MAX_RANK];
    ag_row_major(b->rank, b->dim, stride);
    for (int i = batch_rank(f); i < b->rank; i++) ag_c_open(f, i, b->dim[i]);
    ag_c_line(f, "%s[%s] = %s[%s];", f->out, ag_c_index(b->rank, b->dim, stride, 0).text, f->in[1],
              ag_c_index_of(b).text);
    ag_c_close(f, b->rank - batch_rank(f));
}

bool ag_c_solve(const ag_c_form *f) {
    int64_t n = side(f), k = columns(f);
    ag_c_factors lu = open_factors(f, "solve");
    ag_c_need(f, "lu_solve");
    copy_right(f);
    ag_c_line(f, "ad_lu_solve%s(%lld, %lld, %s, %s, %s + %s);", f->suffix, LL(n), LL(k), lu.a.text, lu.pivot.text,
              f->out, batch_of(f, n * k).text);
    ag_c_close(f, batch_rank(f));
    return true;
}

bool ag_c_solve_triangular(const ag_c_form *f, bool upper) {
    const ag_view *a = f->views[0];
    int64_t n = side(f), k = columns(f), row_step = a->stride[a->rank - 2], step = a->stride[a->rank - 1];
    ag_c_text at = ag_c_index(batch_rank(f), a->dim, a->stride, 0);
    ag_c_need(f, "triangle");
    ag_c_open_all(f, a->dim, batch_rank(f));
    ag_c_line(f, "for (long ad_p = 0; ad_p < %lld; ad_p++)", LL(n));
    ag_c_line(f, "    if (%s[%s + ad_p * %lld] == 0) return %d;", f->in[0], at.text, LL(row_step + step),
              ag_c_check(f, "solve_triangular: a singular matrix"));
    copy_right(f);
    ag_c_line(f, "ad_triangle%s(%d, %lld, %lld, %s + (%s), %lld, %lld, %s + %s);", f->suffix, upper, LL(n), LL(k),
              f->in[0], at.text, LL(row_step), LL(step), f->out, batch_of(f, n * k).text);
    ag_c_close(f, batch_rank(f));
    return true;
}

bool ag_c_inverse(const ag_c_form *f) {
    int64_t n = side(f);
    ag_c_factors lu = open_factors(f, "inverse");
    ag_c_text at = batch_of(f, n * n);
    ag_c_need(f, "lu_solve");
    ag_c_open(f, batch_rank(f), n);
    ag_c_open(f, batch_rank(f) + 1, n);
    ag_c_line(f, "%s[%s + %s * %lld + %s] = %s == %s;", f->out, at.text, row(f), LL(n), column(f), row(f), column(f));
    ag_c_close(f, 2);
    ag_c_line(f, "ad_lu_solve%s(%lld, %lld, %s, %s, %s + %s);", f->suffix, LL(n), LL(n), lu.a.text, lu.pivot.text,
              f->out, at.text);
    ag_c_close(f, batch_rank(f));
    return true;
}

bool ag_c_determinant(const ag_c_form *f, bool logarithm) {
    int64_t n = side(f);
    ag_c_factors lu = open_factors(f, logarithm ? "logdet" : NULL);
    ag_c_text at = batch_of(f, 1);
    ag_c_need(f, "determinant");
    ag_c_line(f, "long ad_exponent;");
    ag_c_line(f, "const double ad_mantissa = ad_determinant%s(%lld, %s, %s, &ad_exponent);", f->suffix, LL(n),
              lu.a.text, lu.pivot.text);
    if (logarithm) {
        ag_c_line(f, "%s[%s] = (%s)(log(fabs(ad_mantissa)) + (double)ad_exponent * 0.693147180559945309417);", f->out,
                  at.text, f->number);
    } else {
        ag_c_line(f, "if (ad_exponent > 99999) ad_exponent = 99999;");
        ag_c_line(f, "if (ad_exponent < -99999) ad_exponent = -99999;");
        ag_c_line(f, "%s[%s] = (%s)ldexp(ad_mantissa, (int)ad_exponent);", f->out, at.text, f->number);
    }
    ag_c_close(f, batch_rank(f));
    return true;
}

bool ag_c_det_differential(const ag_c_form *f) {
    int64_t n = side(f);
    ag_c_text a = ag_c_work(f, n * n), r = ag_c_work(f, (f->n - 1) * n * n), swaps = ag_c_work(f, 3 * n);
    ag_c_need(f, "differential");
    ag_c_open_all(f, f->views[0]->dim, batch_rank(f));
    copy_matrix(f, 0, a.text, false);
    for (int k = 1; k < f->n; k++) {
        char to[400];
        snprintf(to, sizeof to, "(%s + %lld)", r.text, LL((k - 1) * n * n));
        copy_matrix(f, k, to, false);
    }
    ag_c_line(f, "ad_differential%s(%lld, %d, %s, %s, %s, %s + %s);", f->suffix, LL(n), f->n - 1, a.text, r.text,
              swaps.text, f->out, batch_of(f, n * n).text);
    ag_c_close(f, batch_rank(f));
    return true;
}

bool ag_c_cholesky(const ag_c_form *f) {
    int64_t n = side(f);
    ag_c_text at = batch_of(f, n * n);
    ag_c_need(f, "cholesky");
    ag_c_open_all(f, f->views[0]->dim, batch_rank(f));
    ag_c_open(f, batch_rank(f), n);
    ag_c_open(f, batch_rank(f) + 1, n);
    ag_c_line(f, "%s[%s + %s * %lld + %s] = %s > %s ? 0 : %s[%s];", f->out, at.text, row(f), LL(n), column(f),
              column(f), row(f), f->in[0], ag_c_index_of(f->views[0]).text);
    ag_c_close(f, 2);
    ag_c_line(f, "if (ad_cholesky%s(%lld, %s + %s)) return %d;", f->suffix, LL(n), f->out, at.text,
              ag_c_check(f, "cholesky: a matrix that is not positive definite"));
    ag_c_close(f, batch_rank(f));
    return true;
}
