/* Running a fused step: AG_LANES elements at a time. Code finds its operands through a table of rows: arrays of the
 * result's shape as they are, everything else in a buffer. */
#include "../tape/cursor_impl.h"
#include "runner_impl.h"

struct ag_fused {
    void **row;        /* most_rows: where each row is now */
    char *buffer;      /* most_rows rows of AG_LANES numbers */
    ag_cursor *cursor; /* longest: of each operand */
    void *block;
    size_t size;
};

bool ag_open_fused(ag_runner *r) {
    size_t row_bytes = AG_LANES * ag_type_size(r->p->type);
    struct ag_fused *f = ag_memory_zeroed(&r->memory, sizeof *f);
    r->fused = f;
    if (!f) return false;
    f->size = 64 + r->most_rows * (row_bytes + sizeof *f->row) + r->longest * sizeof *f->cursor;
    f->block = ag_memory_zeroed(&r->memory, f->size);
    if (!f->block) return false;
    f->buffer = (char *)(((uintptr_t)f->block + 63) / 64 * 64);
    f->row = (void **)(void *)(f->buffer + r->most_rows * row_bytes);
    f->cursor = (ag_cursor *)(void *)(f->row + r->most_rows);
    return true;
}

void ag_close_fused(ag_runner *r) {
    if (!r->fused) return;
    ag_memory_free(&r->memory, r->fused->block, r->fused->size);
    ag_memory_free(&r->memory, r->fused, sizeof *r->fused);
}

static void *buffer_row(const ag_runner *r, uint32_t k) {
    return ag_element(r->p->type, r->fused->buffer, (int64_t)k * AG_LANES);
}

/* Rows that stay where they are for the whole step, and cursors of the others. */
static void begin(ag_runner *r, const ag_pstep *s) {
    const ag_array *a = r->arrays;
    for (uint32_t k = 0; k < s->rows; k++) r->fused->row[k] = buffer_row(r, k);
    for (uint32_t k = s->outs; k < s->count; k++) {
        ag_cursor_open(&r->fused->cursor[k], a[k].view, a[0].view);
        if (r->fused->cursor[k].access == SINGLE)
            r->kernels->fill(AG_LANES, buffer_row(r, k), ag_load(r->p->type, a[k].data, 0));
    }
}

/* The rows of elements at..at+n-1: of a whole block as they are, of the last one through the buffer. */
static void load(ag_runner *r, const ag_pstep *s, int64_t at, int64_t n) {
    ag_type type = r->p->type;
    for (uint32_t k = s->outs; k < s->count; k++) {
        ag_cursor *c = &r->fused->cursor[k];
        void *from = r->arrays[k].data;
        if (c->access == STRIDED) ag_cursor_gather(type, c, from, n, buffer_row(r, k));
        else if (c->access == DIRECT && n == AG_LANES) r->fused->row[k] = ag_element(type, from, at);
        else if (c->access == DIRECT) {
            r->fused->row[k] = buffer_row(r, k);
            memcpy(buffer_row(r, k), ag_element(type, from, at), (size_t)n * ag_type_size(type));
        }
    }
    for (uint32_t k = 0; k < s->outs; k++)
        r->fused->row[k] = n == AG_LANES ? ag_element(type, r->arrays[k].data, at) : buffer_row(r, k);
}

void ag_run_fused(ag_runner *r, const ag_pstep *s) {
    const ag_straight *code = (const ag_straight *)(const void *)r->straight.range.base + s->code;
    ag_type type = r->p->type;
    int64_t count = r->arrays[0].view->count;
    begin(r, s);
    for (int64_t at = 0; at < count; at += AG_LANES) {
        int64_t n = count - at < AG_LANES ? count - at : AG_LANES;
        load(r, s, at, n);
        r->kernels->straight_rows(code, s->codes, r->fused->row);
        for (uint32_t k = 0; k < s->outs && n < AG_LANES; k++)
            memcpy(ag_element(type, r->arrays[k].data, at), buffer_row(r, k), (size_t)n * ag_type_size(type));
    }
}
