/* Running a fused step: a row of elements at a time. Code finds its operands through a table of rows: arrays of the
 * result's shape as they are, everything else in a buffer.
 *
 * Tensors in the work array have room for whole blocks, so that only the last block of what the caller owns goes through
 * the buffer. Sums are kept in a vector's lanes, and folded now and then so that rounding errors do not pile up. */
#include "runner_impl.h"

enum { FOLDED = 256 * AG_LANES, SUM_BYTES = 64 }; /* elements */

struct ag_fused {
    void **row;        /* most_rows: where each row is now */
    char *buffer;      /* most_rows rows of numbers */
    ag_cursor *cursor; /* longest: of each operand */
    double *sum;       /* longest: what was folded */
    char *sums;        /* longest of AG_SUMS numbers: what was not */
    void *folded;      /* longest numbers */
    int64_t block_elements;
    uint32_t *moving, *strided, moving_count, strided_count; /* longest: operands that move with the blocks, or jump */
    ag_row_shift *shift;                                     /* most_shifts */
    char *constants; /* constant_count rows of one number each, for fixed rows */
    void **fixed;
    size_t constant_count, fixed_count;
    void *block;
    size_t size;
};

/* ---- steps whose rows are the same in every run: on few elements, all in the work array ---- */

static const ag_poperand *operands_of(const ag_runner *r, const ag_pstep *s) {
    const ag_poperand *all = (const ag_poperand *)(const void *)r->operands.range.base;
    return all ? all + s->first : NULL; /* no step has any */
}

static bool is_sum(const ag_pstep *s, uint32_t k) { return k >= s->outs && k < s->outs + s->sums; }

static bool is_fixed(const ag_runner *r, const ag_pstep *s) {
    const ag_poperand *o = operands_of(r, s);
    if (s->kind != STEP_FUSED || s->view->count > AG_LANES) return false;
    for (uint32_t k = 0; k < s->count; k++) {
        bool direct = o[k].view->contiguous && o[k].view->count == s->view->count;
        bool single = k >= s->outs && o[k].access == SINGLE;
        if (o[k].spot.space != SPACE_WORK || !(direct || single || is_sum(s, k))) return false;
    }
    return true;
}

/* The row of a constant, made if there is none yet. */
static void *constant_row(ag_runner *r, double number) {
    struct ag_fused *f = r->fused;
    size_t k = 0;
    while (k < f->constant_count &&
           (ag_load(r->p->type, f->constants, (int64_t)k * AG_LANES) != number || number == 0 || number != number))
        k++;
    void *row = ag_element(r->p->type, f->constants, (int64_t)k * AG_LANES);
    if (k == f->constant_count) {
        r->kernels->fill(AG_LANES, row, number);
        f->constant_count++;
    }
    return row;
}

/* Operand k is one number of the work array, of which every run makes a row. */
static void note_filling(const ag_runner *r, ag_pstep *s, uint32_t k) {
    s->fixed[k] = ag_element(r->p->type, r->fused->buffer, (int64_t)k * AG_LANES);
    if (s->fill == s->fills) s->fill = k;
    s->fills = k + 1;
}

static bool are_side_by_side(const ag_poperand *o, uint32_t n) {
    for (uint32_t k = 1; k < n; k++)
        if (o[k].spot.offset != o[0].spot.offset + k) return false;
    return n > 0;
}

static void fix(ag_runner *r, ag_pstep *s) {
    const ag_poperand *o = operands_of(r, s);
    s->sums_at = are_side_by_side(o + s->outs, s->sums) ? ag_element(r->p->type, r->work, o[s->outs].spot.offset) : NULL;
    s->fixed = r->fused->fixed + r->fused->fixed_count;
    r->fused->fixed_count += s->rows;
    for (uint32_t k = 0; k < s->rows; k++) {
        if (s->sums && k == s->count) s->fixed[k] = &r->fused->block_elements;
        else if (k >= s->count) s->fixed[k] = ag_element(r->p->type, r->fused->buffer, (int64_t)k * AG_LANES);
        else if (is_sum(s, k)) s->fixed[k] = r->fused->sums + (k - s->outs) * (size_t)SUM_BYTES;
        else if (o[k].number) s->fixed[k] = constant_row(r, *o[k].number);
        else if (o[k].fills) note_filling(r, s, k);
        else s->fixed[k] = ag_element(r->p->type, r->work, o[k].spot.offset);
    }
}

/* ---- shifts ---- */

static const ag_pshift *shifts_of(const ag_runner *r, const ag_pstep *s) {
    const ag_pshift *all = (const ag_pshift *)(const void *)r->shifts.range.base;
    return all ? all + s->shift : NULL;
}

/* What comes from beyond the end, for the first block. */
static void begin_shifts(const ag_runner *r, const ag_pstep *s) {
    ag_type type = r->p->type;
    const ag_pshift *shift = shifts_of(r, s);
    for (uint32_t i = 0; i < s->shifts; i++, shift++) {
        ag_row_shift *row = &r->fused->shift[i];
        row->by = shift->by;
        memset(row->carry, 0, (size_t)(shift->by < 0 ? -shift->by : shift->by) * ag_type_size(type));
        r->fused->row[s->count - s->edges + i] = row;
        if (shift->by > 0 ? s->from > 0 : s->from + s->blocks * s->lanes < s->view->count) continue; /* all 0 */
        const ag_array *edge = r->arrays + shift->edge;
        int64_t start = shift->by > 0 ? 0 : s->view->count + shift->by;
        for (uint32_t k = 0; k < shift->parts; k++) {
            if (k == shift->part) continue;
            const ag_view *v = edge->view;
            void *to = ag_element(type, row->carry, shift->where[k].offset - start);
            if (v->count == 1) ag_store(type, to, 0, ag_load(type, to, 0) + ag_load(type, edge->data, 0));
            else ag_strided_add(type, v->rank, v->dim, to, shift->where[k].stride, edge->data, v->stride);
            edge++;
        }
    }
}

/* ---- blocks ---- */

/* One block, of n elements: false if that was quick and a result is NaN, which may be wrong. Tensors of few elements have
 * room for few lanes only. */
static bool run_block(const ag_runner *r, const ag_pstep *s, void *const *rows, int64_t n, bool quick) {
    bool exact = s->exacts && !quick;
    const ag_straight *code = (const ag_straight *)(const void *)(exact ? r->exact : r->straight).range.base;
    uint32_t count = exact ? s->exacts : s->codes;
    code += exact ? s->exact : s->code;
    r->fused->block_elements = n;
    if (s->native_rows && !exact) {
        s->native_rows(rows);
        return !quick || !r->kernels->any_nan(s->checked, rows, (size_t)n);
    }
    if (s->lanes == AG_FEW_LANES) r->kernels->straight_short_rows(code, count, rows);
    else if (s->lanes == AG_HALF_LANES) r->kernels->straight_half_rows(code, count, rows);
    else if (s->lanes == AG_LANES) r->kernels->straight_rows(code, count, rows);
    else r->kernels->straight_long_rows(code, count, rows);
    return !quick || !r->kernels->any_nan(s->checked, rows, (size_t)n);
}

/* ---- room ---- */

bool ag_open_fused(ag_runner *r) {
    ag_pstep *steps = (ag_pstep *)(void *)r->steps.range.base;
    size_t row_bytes = AG_LANES * ag_type_size(r->p->type), fixed = 0, constants = 0;
    struct ag_fused *f = ag_memory_zeroed(&r->memory, sizeof *f);
    r->fused = f;
    if (!f) return false;
    for (uint64_t i = 0; i < r->steps.count; i++) {
        if (!is_fixed(r, &steps[i])) continue;
        fixed += steps[i].rows;
        for (uint32_t k = 0; k < steps[i].count; k++) constants += operands_of(r, &steps[i])[k].number != NULL;
    }
    f->size = 64 + r->most_rows * (size_t)AG_LONG_ROW + constants * row_bytes + r->most_shifts * sizeof *f->shift +
              (r->most_rows + fixed) * sizeof *f->row +
              r->longest * (sizeof *f->cursor + 2 * sizeof *f->sum + 2 * sizeof *f->moving + SUM_BYTES);
    f->block = ag_memory_zeroed(&r->memory, f->size);
    if (!f->block) return false;
    f->buffer = (char *)(((uintptr_t)f->block + 63) / 64 * 64);
    f->constants = f->buffer + r->most_rows * (size_t)AG_LONG_ROW;
    f->shift = (ag_row_shift *)(void *)(f->constants + constants * row_bytes);
    f->sums = (char *)(f->shift + r->most_shifts);
    f->row = (void **)(void *)(f->sums + r->longest * (size_t)SUM_BYTES);
    f->fixed = f->row + r->most_rows;
    f->cursor = (ag_cursor *)(void *)(f->fixed + fixed);
    f->sum = (double *)(void *)(f->cursor + r->longest);
    f->folded = f->sum + r->longest;
    f->moving = (uint32_t *)(void *)((double *)f->folded + r->longest);
    f->strided = f->moving + r->longest;
    for (uint64_t i = 0; i < r->steps.count; i++)
        if (is_fixed(r, &steps[i])) fix(r, &steps[i]);
    return true;
}

void ag_close_fused(ag_runner *r) {
    if (!r->fused) return;
    ag_memory_free(&r->memory, r->fused->block, r->fused->size);
    ag_memory_free(&r->memory, r->fused, sizeof *r->fused);
}

static void *buffer_row(const ag_runner *r, const ag_pstep *s, uint32_t k) {
    return ag_element(r->p->type, r->fused->buffer, (int64_t)k * s->lanes);
}

static bool in_work(const ag_runner *r, const ag_pstep *s, uint32_t k) {
    return operands_of(r, s)[k].spot.space == SPACE_WORK;
}

/* What was added up since the last time. */
static void fold_sums(const ag_runner *r, const ag_pstep *s) {
    struct ag_fused *f = r->fused;
    r->kernels->sum_rows(s->sums, AG_SUMS(r->p->type), f->folded, f->sums);
    for (uint32_t k = 0; k < s->sums; k++) f->sum[k] += ag_load(r->p->type, f->folded, k);
    memset(f->sums, 0, s->sums * (size_t)SUM_BYTES);
}

static void begin_sums(const ag_runner *r, const ag_pstep *s) {
    struct ag_fused *f = r->fused;
    for (uint32_t k = 0; k < s->sums; k++) {
        f->sum[k] = 0;
        f->row[s->outs + k] = f->sums + k * (size_t)SUM_BYTES;
    }
    memset(f->sums, 0, s->sums * (size_t)SUM_BYTES);
}

static bool is_any_sum_nan(const ag_runner *r, const ag_pstep *s) {
    for (uint32_t k = 0; k < s->sums; k++)
        if (r->fused->sum[k] != r->fused->sum[k]) return true;
    return false;
}

/* Rows that stay where they are for the whole step, and cursors of those that jump. */
static void begin(ag_runner *r, const ag_pstep *s) {
    const ag_array *a = r->arrays;
    const ag_poperand *o = operands_of(r, s);
    struct ag_fused *f = r->fused;
    for (uint32_t k = 0; k < s->rows; k++) f->row[k] = buffer_row(r, s, k);
    if (s->sums || s->shifts) f->row[s->count - s->edges + s->shifts] = &f->block_elements;
    if (s->sums) begin_sums(r, s);
    if (s->shifts) begin_shifts(r, s);
    f->moving_count = f->strided_count = 0;
    for (uint32_t k = 0; k < s->outs; k++) f->moving[f->moving_count++] = k;
    for (uint32_t k = s->outs + s->sums; k < s->count - s->edges; k++) {
        if (o[k].access == DIRECT) {
            f->moving[f->moving_count++] = k;
        } else if (o[k].access == STRIDED) {
            ag_cursor_open(&f->cursor[k], a[k].view, o[k].to);
            if (s->from && !s->backward) ag_cursor_seek(&f->cursor[k], s->from);
            f->strided[f->strided_count++] = k;
        } else if (o[k].fills) {
            r->kernels->fill(s->lanes, f->row[k], ag_load(r->p->type, a[k].data, 0));
        } else {
            f->row[k] = a[k].data;
        }
    }
}

/* Points the rows that move from block to block at elements at..at+n-1. What is not in the work array has no room for a
 * whole block, and is in the buffer then. */
static void point(ag_runner *r, const ag_pstep *s, int64_t at, int64_t n) {
    ag_type type = r->p->type;
    for (uint32_t i = 0; i < r->fused->moving_count; i++) {
        uint32_t k = r->fused->moving[i];
        void *data = ag_element(type, r->arrays[k].data, at);
        bool direct = n == s->lanes || in_work(r, s, k);
        r->fused->row[k] = direct ? data : buffer_row(r, s, k);
        if (!direct && k >= s->outs) memcpy(buffer_row(r, s, k), data, (size_t)n * ag_type_size(type));
    }
}

/* Points them at the next block, `by` bytes further on. */
static void move(const ag_runner *r, ptrdiff_t by) {
    char **row = (char **)(void *)r->fused->row;
    const uint32_t *moving = r->fused->moving;
    for (uint32_t i = 0, n = r->fused->moving_count; i < n; i++) row[moving[i]] += by;
}

/* Gathers elements at..at+n-1 of what is not read in the order of memory. */
static void gather(ag_runner *r, const ag_pstep *s, int64_t at, int64_t n) {
    ag_type type = r->p->type;
    for (uint32_t i = 0; i < r->fused->strided_count; i++) {
        uint32_t k = r->fused->strided[i];
        ag_cursor *c = &r->fused->cursor[k];
        void *from = r->arrays[k].data;
        int64_t offset;
        if (s->backward) ag_cursor_seek(c, at);
        if (n == s->lanes && ag_cursor_side_by_side(c, n, &offset)) {
            r->fused->row[k] = ag_element(type, from, offset);
        } else {
            r->fused->row[k] = buffer_row(r, s, k);
            ag_cursor_gather(type, c, from, n, buffer_row(r, s, k));
        }
    }
}

/* Results of the last block that went to the buffer. */
static void store(ag_runner *r, const ag_pstep *s, int64_t at, int64_t n) {
    for (uint32_t k = 0; k < s->outs; k++)
        if (!in_work(r, s, k))
            memcpy(ag_element(r->p->type, r->arrays[k].data, at), buffer_row(r, s, k),
                   (size_t)n * ag_type_size(r->p->type));
}

static void fill_gaps(const ag_runner *r, const ag_pstep *s) {
    const ag_pgap *gap = (const ag_pgap *)(const void *)r->gaps.range.base;
    for (uint32_t k = s->gap; k < s->gap + s->gaps; k++) {
        void *at = ag_element(r->p->type, r->arrays[gap[k].result].data, gap[k].from);
        r->kernels->fill((size_t)(gap[k].to - gap[k].from), at, gap[k].number);
    }
}

/* False if that was quick and a result is NaN. */
static bool run_blocks(ag_runner *r, const ag_pstep *s, bool quick) {
    int64_t count = s->view->count, lanes = s->lanes, blocks = s->blocks;
    ptrdiff_t bytes = (ptrdiff_t)((size_t)lanes * ag_type_size(r->p->type));
    begin(r, s);
    for (int64_t b = 0; b < blocks; b++) {
        int64_t at = s->from + (s->backward ? blocks - 1 - b : b) * lanes, n = count - at < lanes ? count - at : lanes;
        if (b == 0 || n < lanes || (s->backward && b == 1)) point(r, s, at, n);
        else move(r, s->backward ? -bytes : bytes);
        gather(r, s, at, n);
        if (!run_block(r, s, r->fused->row, n, quick)) return false;
        if (n < lanes) store(r, s, at, n);
        if (s->sums && ((b + 1) % (FOLDED / lanes) == 0 || b + 1 == blocks)) fold_sums(r, s);
    }
    return !(quick && is_any_sum_nan(r, s));
}

void ag_run_fused(ag_runner *r, const ag_pstep *s) {
    fill_gaps(r, s);
    if (!run_blocks(r, s, s->exacts > 0)) run_blocks(r, s, false);
    for (uint32_t k = 0; k < s->sums; k++) ag_store(r->p->type, r->arrays[s->outs + k].data, 0, r->fused->sum[k]);
}

/* Lanes behind the last element are computed like others; if that went on and on, they might become denormal numbers, which
 * are slow. */
static void clear_rest(const ag_runner *r, const ag_pstep *s) {
    int64_t count = s->view->count;
    size_t size = ag_type_size(r->p->type), rest = ((size_t)s->lanes - (size_t)count) * size;
    for (uint32_t k = 0; rest && k < s->outs; k++) memset((char *)s->fixed[k] + (size_t)count * size, 0, rest);
}

static bool run_fixed(const ag_runner *r, const ag_pstep *s, void *sums, bool quick) {
    memset(r->fused->sums, 0, s->sums * (size_t)SUM_BYTES);
    if (!run_block(r, s, s->fixed, s->view->count, quick)) return false;
    r->kernels->sum_rows(s->sums, AG_SUMS(r->p->type), sums, r->fused->sums);
    return !(quick && r->kernels->any_nan(1, &sums, s->sums));
}

void ag_run_fixed(const ag_runner *r, const ag_pstep *s) {
    const ag_poperand *o = operands_of(r, s);
    for (uint32_t k = s->fill; k < s->fills; k++)
        if (o[k].fills && !o[k].number)
            r->kernels->fill(s->lanes, s->fixed[k], ag_load(r->p->type, r->work, o[k].spot.offset));
    void *sums = s->sums_at ? s->sums_at : r->fused->folded;
    if (!run_fixed(r, s, sums, s->exacts > 0)) run_fixed(r, s, sums, false);
    clear_rest(r, s);
    for (uint32_t k = 0; !s->sums_at && k < s->sums; k++)
        ag_store(r->p->type, r->work, o[s->outs + k].spot.offset, ag_load(r->p->type, sums, k));
}
