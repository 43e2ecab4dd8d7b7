/* The gradients of a model's parameters, row by row: their norm, whether they are finite, and work on them by several
 * threads. */
#include "nn/memory.h"
#include "optimise_impl.h"

#include <inttypes.h>
#include <math.h>

bool nn_parameter_is_there(nn_model *model, const char *what, int i) {
    ag_var var = nn_parameter_at(model, i);
    if (!ag_is_inert(var)) return true;
    ag_fail(ag_tape_of(var), AG_ERR_STALE, "%s: parameter %.80s is of a part of the tape that was rewound", what,
            nn_parameter_name(model, i));
    return false;
}

int nn_rows_find(nn_model *model, const char *what, void *const *gradients, nn_row *rows) {
    int count = 0;
    for (int i = 0, n = nn_parameter_count(model); i < n; i++) {
        ag_numbers x = ag_numbers_of(nn_parameter_at(model, i));
        if (x.data == NULL && !nn_parameter_is_there(model, what, i)) return -1;
        void *gradient = gradients == NULL ? x.grad : gradients[i];
        if (gradient != NULL) rows[count++] = (nn_row){i, x.count, x.data, gradient};
    }
    return count;
}

/* ---- several threads ---- */

enum { LEAST_BLOCKS = 3 }; /* for each thread */

typedef struct crew {
    const nn_row *rows;
    int rows_count, workers;
    int64_t blocks;
    nn_row_work *work;
    void *context;
} crew;

static int64_t blocks_of(const nn_row *row) { return (row->count + NN_BLOCK - 1) / NN_BLOCK; }

/* The k-th share of all blocks: what of each row lies in it. */
static void work_share(void *data, int k) {
    const crew *c = data;
    int64_t from = c->blocks * k / c->workers, to = c->blocks * (k + 1) / c->workers, before = 0;
    for (int i = 0; i < c->rows_count && before < to; i++) {
        const nn_row *row = &c->rows[i];
        int64_t first = from > before ? from - before : 0, last = to - before, blocks = blocks_of(row);
        if (last > blocks) last = blocks;
        if (first < last) {
            int64_t start = first * NN_BLOCK, end = last < blocks ? last * NN_BLOCK : row->count;
            c->work(c->context, row, start, end - start);
        }
        before += blocks;
    }
}

void nn_rows_parallel(const nn_row *rows, int count, nn_row_work *work, void *context) {
    int64_t numbers = 0;
    crew c = {rows, count, 1, 0, work, context};
    for (int i = 0; i < count; i++) {
        numbers += rows[i].count;
        c.blocks += blocks_of(&rows[i]);
    }
    if (numbers / NN_BLOCK >= 2 * LEAST_BLOCKS) {
        int64_t workers = numbers / NN_BLOCK / LEAST_BLOCKS;
        c.workers = workers < ag_threads() ? (int)workers : ag_threads();
    }
    if (c.workers > 1) ag_parallel(c.workers, work_share, &c);
    else
        for (int i = 0; i < count; i++) work(context, &rows[i], 0, rows[i].count);
}

/* ---- norms ---- */

typedef struct sums {
    ag_type type;
    double scale;
    const nn_row *first;
    double *of_block; /* the sum of each block of all rows */
    double sum;       /* of all blocks, where there is no room for theirs: by one thread, in order */
} sums;

static void add_squares(void *context, const nn_row *row, int64_t start, int64_t n) {
    sums *s = context;
    int64_t block = start / NN_BLOCK;
    for (const nn_row *r = s->first; r < row; r++) block += blocks_of(r);
    for (int64_t end = start + n; start < end; start += NN_BLOCK, block++) {
        int64_t m = end - start < NN_BLOCK ? end - start : NN_BLOCK;
        double sum = nn_kernels_for(s->type)->squares((size_t)m, nn_at(s->type, row->gradient, start), s->scale);
        if (s->of_block != NULL) s->of_block[block] = sum;
        else s->sum += sum;
    }
}

static double sum_of_squares(const nn_row *rows, int count, ag_type type, double scale) {
    enum { FEW = 64 };
    double few[FEW];
    int64_t blocks = 0;
    for (int i = 0; i < count; i++) blocks += blocks_of(&rows[i]);
    double *many = blocks <= FEW ? NULL : nn_allocate((size_t)blocks, sizeof *many);
    sums s = {type, scale, rows, blocks <= FEW ? few : many, 0};
    if (s.of_block != NULL) nn_rows_parallel(rows, count, add_squares, &s);
    else
        for (int i = 0; i < count; i++) add_squares(&s, &rows[i], 0, rows[i].count);
    for (int64_t i = 0; s.of_block != NULL && i < blocks; i++) s.sum += s.of_block[i];
    nn_release(many);
    return s.sum;
}

static double greatest(const nn_row *rows, int count, ag_type type) {
    double most = 0;
    for (int i = 0; i < count; i++) {
        double m = nn_kernels_for(type)->most((size_t)rows[i].count, rows[i].gradient);
        if (isnan(m)) return m;
        most = m > most ? m : most;
    }
    return most;
}

/* Squares that overflow, or of which nothing is left, are taken once more, with the greatest number as the unit. */
double nn_rows_norm(const nn_row *rows, int count, ag_type type) {
    double sum = sum_of_squares(rows, count, type, 1);
    if (sum >= 0x1p-900 && sum < INFINITY) return sqrt(sum);
    double most = greatest(rows, count, type);
    if (!(most > 0 && most < INFINITY)) return most;
    return most * sqrt(sum_of_squares(rows, count, type, 1 / most));
}

bool nn_rows_finite(nn_model *model, const char *what, const nn_row *rows, int count) {
    ag_tape *tape = nn_model_tape(model);
    ag_type type = ag_tape_type(tape);
    for (int i = 0; i < count; i++) {
        if (nn_kernels_for(type)->finite((size_t)rows[i].count, rows[i].gradient)) continue;
        const float *f32 = rows[i].gradient;
        const double *f64 = rows[i].gradient;
        int64_t k = 0;
        while (isfinite(type == AG_F64 ? f64[k] : (double)f32[k])) k++;
        double value = type == AG_F64 ? f64[k] : (double)f32[k];
        ag_fail(tape, AG_ERR_VALUE, "%s: element %" PRId64 " of the gradient of parameter %.80s is %g", what, k,
                nn_parameter_name(model, rows[i].parameter), isnan(value) ? fabs(value) : value); /* no "-nan" */
        return false;
    }
    return true;
}

double nn_clip_factor(double norm, double most) {
    double factor = most / (norm + 1e-6);
    return factor < 1 ? factor : 1;
}

/* ---- clipping ---- */

/* Rows of a model in memory of their own; NULL after an error. */
static nn_row *rows_of(nn_model *model, const char *what, double most, int *count) {
    ag_tape *tape = nn_model_tape(model);
    if (ag_tape_status(tape) != AG_OK) return NULL;
    if (!(most >= 0)) {
        ag_fail(tape, AG_ERR_VALUE, "%s: the bound is %g; it must be at least 0", what, most);
        return NULL;
    }
    nn_row *rows = nn_allocate((size_t)nn_parameter_count(model), sizeof *rows);
    if (rows == NULL) ag_fail(tape, AG_ERR_MEMORY, "%s: out of memory", what);
    else if ((*count = nn_rows_find(model, what, NULL, rows)) >= 0) return rows;
    nn_release(rows);
    return NULL;
}

double nn_clip_norm(nn_model *model, double most) {
    int count;
    nn_row *rows = model == NULL ? NULL : rows_of(model, "clip_norm", most, &count);
    if (rows == NULL) return (double)NAN;
    ag_type type = ag_tape_type(nn_model_tape(model));
    double norm = nn_rows_norm(rows, count, type), factor = nn_clip_factor(norm, most);
    if (!isfinite(norm) && !nn_rows_finite(model, "clip_norm", rows, count)) norm = (double)NAN;
    else if (factor < 1)
        for (int i = 0; i < count; i++) nn_kernels_for(type)->scale((size_t)rows[i].count, rows[i].gradient, factor);
    nn_release(rows);
    return norm;
}

double nn_clip_value(nn_model *model, double most) {
    int count;
    nn_row *rows = model == NULL ? NULL : rows_of(model, "clip_value", most, &count);
    if (rows == NULL) return (double)NAN;
    ag_type type = ag_tape_type(nn_model_tape(model));
    double was = greatest(rows, count, type);
    if (isnan(was)) nn_rows_finite(model, "clip_value", rows, count);
    else if (was > most)
        for (int i = 0; i < count; i++) nn_kernels_for(type)->clip((size_t)rows[i].count, rows[i].gradient, most);
    nn_release(rows);
    return was;
}
