/* Running a planned program. */
#include "runner_impl.h"

#include <stdarg.h>

static ag_runner nil_runner = {.status = AG_ERR_MEMORY, .message = "run: out of memory when the runner was made"};

static bool is_nil(const ag_runner *r) { return r == NULL || r == &nil_runner; }

void ag_runner_fail(ag_runner *r, ag_status status, const char *format, ...) {
    if (is_nil(r) || r->status != AG_OK) return;
    r->status = status;
    va_list args;
    va_start(args, format);
    vsnprintf(r->message, sizeof r->message, format, args);
    va_end(args);
}

void *ag_runner_add(ag_runner *r, ag_list *list, size_t size, uint64_t n) {
    uint64_t need = (list->count + n) * size;
    if (r->status != AG_OK) return NULL;
    if (list->count + n >= UINT32_MAX ||
        (need > list->range.size && !ag_range_grow(&r->memory, &list->range, need, SIZE_MAX))) {
        ag_runner_fail(r, AG_ERR_MEMORY, "run: out of memory for the plan");
        return NULL;
    }
    void *at = list->range.base + list->count * size;
    list->count += n;
    return at;
}

bool ag_runner_work(ag_runner *r, int64_t count) {
    r->block_size =
        (size_t)count * ag_type_size(r->p->type) + AG_LONG_ROW + 128; /* the last may be read a row at a time */
    r->block = ag_memory_zeroed(&r->memory, r->block_size);
    ag_memory_touch_often(r->block, r->block_size);
    r->work = r->block ? (char *)(((uintptr_t)r->block + 63) / 64 * 64) : NULL;
    return r->block != NULL;
}

/* ---- lifecycle ---- */

static size_t space_count(const ag_program *p) { return SPACE_INPUTS + p->inputs.count + p->outputs.count; }

static bool open_arrays(ag_runner *r) {
    const ag_program *p = r->p;
    r->base = ag_memory_zeroed(&r->memory, space_count(p) * sizeof *r->base);
    r->spare = ag_memory_zeroed(&r->memory, p->outputs.count * sizeof *r->spare + 1);
    r->loaded = ag_memory_zeroed(&r->memory, p->inputs.count + 1);
    r->load_at = ag_memory_zeroed(&r->memory, p->inputs.count * sizeof *r->load_at + 1);
    r->input_bytes = ag_memory_zeroed(&r->memory, p->inputs.count * sizeof *r->input_bytes + 1);
    for (uint64_t k = 0; r->input_bytes && k < p->inputs.count; k++)
        r->input_bytes[k] = (size_t)ag_where_count(p, ag_pinput_at(p, k)->ref.where) * ag_type_size(p->type);
    return r->base && r->spare && r->loaded && r->load_at && r->input_bytes;
}

enum { MOST_SMALL = 4 }; /* elements of tensors that are better taken apart */

ag_runner *ag_runner_new(const ag_program *p) {
    if (ag_program_status(p) != AG_OK) return ag_runner_plan(p, false, AG_FAR);
    ag_program *small = ag_program_small(p, MOST_SMALL);
    ag_runner *r = ag_runner_plan(small, false, AG_FAR);
    ag_program_free(small);
    return r;
}

ag_runner *ag_runner_plan(const ag_program *p, bool lanes, int64_t far) {
    ag_memory memory = {.no_reserve = true};
    if (p) memory = (ag_memory){p->memory.permit, p->memory.context, true, 0};
    ag_runner *r = ag_memory_zeroed(&memory, sizeof *r);
    if (!r) return &nil_runner;
    r->memory = memory;
    r->is_lanes = lanes;
    r->far = far;
    if (ag_program_status(p) != AG_OK) {
        ag_runner_fail(r, ag_program_status(p), "%s", ag_program_message(p));
        return r;
    }
    r->p = ag_program_keep(p);
    r->is_counted = true;
    r->kernels = ag_kernels_for(p->type);
    r->tape = ag_tape_new_with(&(ag_options){p->type, memory.permit, memory.context, true});
    if (r->tape->status != AG_OK || !open_arrays(r)) {
        ag_runner_fail(r, AG_ERR_MEMORY, "run: out of memory");
        return r;
    }
    r->tape->keeps_scratch = true;
    if (!ag_plan(r)) return r;
    ag_translate(r);
    r->arrays = ag_memory_zeroed(&r->memory, r->longest * sizeof *r->arrays + 1);
    if (!r->arrays || !ag_open_fused(r)) ag_runner_fail(r, AG_ERR_MEMORY, "run: out of memory");
    return r;
}

static size_t output_bytes(const ag_program *p, uint64_t k) {
    return (size_t)ag_where_count(p, ag_poutput_at(p, k)->ref.where) * ag_type_size(p->type) + 1;
}

static void free_arrays(ag_runner *r) {
    const ag_program *p = r->p;
    ag_memory *m = &r->memory;
    for (uint64_t k = 0; r->spare && k < p->outputs.count; k++) ag_memory_free(m, r->spare[k], output_bytes(p, k));
    ag_memory_free(m, r->base, space_count(p) * sizeof *r->base);
    ag_memory_free(m, r->spare, p->outputs.count * sizeof *r->spare + 1);
    ag_memory_free(m, r->loaded, p->inputs.count + 1);
    ag_memory_free(m, r->load_at, p->inputs.count * sizeof *r->load_at + 1);
    ag_memory_free(m, r->input_bytes, p->inputs.count * sizeof *r->input_bytes + 1);
    ag_memory_free(m, r->arrays, r->longest * sizeof *r->arrays + 1);
    ag_memory_free(m, r->block, r->block_size);
    ag_memory_free(m, r->row_at, (p->inputs.count + p->outputs.count) * sizeof *r->row_at + 1);
    ag_memory_free(m, r->summed, p->outputs.count + 1);
    int64_t total = 0;
    for (uint64_t k = 0; k < p->outputs.count; k++) total += ag_where_count(p, ag_poutput_at(p, k)->ref.where);
    ag_memory_free(m, r->row_buffer, (size_t)total * ag_type_size(p->type) + 1);
    ag_close_workers(r);
}

void ag_runner_free(ag_runner *r) {
    if (is_nil(r)) return;
    ag_runner_free(r->lanes);
    ag_close_fused(r);
    ag_native_close(&r->memory, &r->native);
    if (r->p) free_arrays(r);
    for (uint64_t i = 0; i < r->views.count; i++)
        ag_memory_free(&r->memory, ((ag_view **)(void *)r->views.range.base)[i], sizeof(ag_view));
    ag_list *lists[] = {&r->straight, &r->exact, &r->steps, &r->operands, &r->views, &r->shifts, &r->gaps, &r->guards};
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) ag_range_free(&r->memory, &lists[i]->range);
    ag_tape_free(r->tape);
    if (r->is_counted) ag_program_free((ag_program *)(uintptr_t)r->p);
    ag_memory memory = r->memory;
    ag_memory_free(&memory, r, sizeof *r);
}

/* ---- steps ---- */

static bool run_call(ag_runner *r, const ag_pstep *s) {
    const ag_pcall *call = ag_pcall_at(r->p, s->code);
    ag_call c = {.tape = r->tape,
                 .type = r->p->type,
                 .n = (int)call->n,
                 .in = r->arrays + 1,
                 .out = r->arrays[0],
                 .params = ag_pparams_at(r->p, call->params),
                 .params_size = call->params_size,
                 .saved = ag_element(r->p->type, r->work, s->saved),
                 .saved_size = call->saved_size};
    return call->operation->forward(&c) && r->tape->status == AG_OK;
}

static void run_copy(const ag_runner *r) {
    const ag_array *to = &r->arrays[0], *from = &r->arrays[1];
    const ag_view *v = from->view;
    int64_t stride[AG_MAX_RANK];
    if (v->contiguous) {
        ag_copy_few(to->data, from->data, (size_t)v->count * ag_type_size(r->p->type));
        return;
    }
    ag_row_major(v->rank, v->dim, stride);
    ag_strided_copy(r->p->type, v->rank, v->dim, to->data, stride, from->data, v->stride);
}

static void run_list(const ag_runner *r, const ag_pstep *s) {
    const ag_poperand *o = (const ag_poperand *)(const void *)r->operands.range.base + s->first, *from = o + 1;
    void *to = ag_element(r->p->type, r->base[o->spot.space], o->spot.offset);
    double *to_f64 = to;
    float *to_f32 = to;
    if (r->p->type == AG_F64)
        for (uint32_t k = 0; k + 1 < s->count; k++) to_f64[k] = ((const double *)(void *)r->work)[from[k].spot.offset];
    else
        for (uint32_t k = 0; k + 1 < s->count; k++) to_f32[k] = ((const float *)(void *)r->work)[from[k].spot.offset];
}

static bool run_step(ag_runner *r, const ag_pstep *s) {
    if (s->native) s->native(r->work, r->base);
    if (s->native || s->done) return true;
    if (s->kind == STEP_STRAIGHT) {
        r->kernels->straight((const ag_straight *)(const void *)r->straight.range.base + s->first, s->count, r->work);
        return true;
    }
    if (s->fixed) {
        ag_run_fixed(r, s);
        return true;
    }
    if (s->kind == STEP_LIST) {
        run_list(r, s);
        return true;
    }
    const ag_poperand *o = (const ag_poperand *)(const void *)r->operands.range.base + s->first;
    for (uint32_t k = 0; k < s->count; k++)
        r->arrays[k] = (ag_array){ag_element(r->p->type, r->base[o[k].spot.space], o[k].spot.offset), o[k].view};
    if (s->kind == STEP_CALL) return run_call(r, s);
    if (s->kind == STEP_FUSED) ag_run_fused(r, s);
    else if (s->kind == STEP_COPY) run_copy(r);
    else
        ag_elementwise_value(r->kernels, r->p->type, (ag_opcode)s->code, r->arrays + 1, (int)s->count - 1,
                             r->arrays[0]);
    return true;
}

/* The spaces of this run. False, and an error, if an input is missing, or memory for an output that nobody wants. */
static bool set_bases(ag_runner *r, const void *const *xs, void *const *ys) {
    const ag_program *p = r->p;
    if ((!xs && p->inputs.count) || (!ys && p->outputs.count))
        return ag_given(r->tape, "run", !xs && p->inputs.count ? "the array of inputs" : "the array of outputs", NULL);
    size_t size = ag_type_size(p->type);
    r->base[SPACE_WORK] = r->work;
    for (uint64_t k = 0; k < p->inputs.count; k++) {
        r->base[SPACE_INPUTS + k] = (char *)(uintptr_t)xs[k];
        if (!r->loaded[k] && xs[k]) continue;
        size_t bytes = r->input_bytes[k];
        if (!bytes) continue;
        if (!xs[k]) {
            ag_fail(r->tape, AG_ERR_VALUE, "run: input %s has no data", ag_program_input(p, (int)k).name);
            return false;
        }
        ag_copy_few(r->work + (size_t)r->load_at[k] * size, xs[k], bytes);
    }
    for (uint64_t k = 0; k < p->outputs.count; k++) {
        char *to = ys[k];
        if (!to && !r->spare[k]) r->spare[k] = ag_memory_zeroed(&r->memory, output_bytes(p, k));
        if (!to) to = r->spare[k];
        if (!to) {
            ag_fail(r->tape, AG_ERR_MEMORY, "run: out of memory for an output that is not wanted");
            return false;
        }
        r->base[SPACE_INPUTS + p->inputs.count + k] = to;
    }
    return true;
}

ag_status ag_runner_run(ag_runner *r, ag_type type, const void *const *xs, void *const *ys) {
    if (is_nil(r)) return r ? AG_ERR_MEMORY : AG_ERR_VALUE;
    if (r->status != AG_OK) return r->status;
    if (r->tape->status != AG_OK) ag_tape_recover(r->tape);
    if (type != r->p->type)
        ag_fail(r->tape, AG_ERR_VALUE, "run: the program is of %s, the arrays of %s",
                type == AG_F64 ? "float" : "double", type == AG_F64 ? "double" : "float");
    else (void)set_bases(r, xs, ys);
    const ag_pstep *steps = (const ag_pstep *)(const void *)r->steps.range.base;
    for (uint64_t i = 0; i < r->steps.count && r->tape->status == AG_OK; i++)
        if (!run_step(r, &steps[i])) break;
    return r->tape->status;
}

ag_status ag_run(ag_runner *r, const double *const *xs, double *const *ys) {
    return ag_runner_run(r, AG_F64, (const void *const *)(const void *)xs, (void *const *)(const void *)ys);
}

ag_status ag_run_f32(ag_runner *r, const float *const *xs, float *const *ys) {
    return ag_runner_run(r, AG_F32, (const void *const *)(const void *)xs, (void *const *)(const void *)ys);
}

const char *ag_runner_message(const ag_runner *r) {
    if (!r) return "no runner: it is NULL";
    return r->status != AG_OK ? r->message : r->tape->message;
}
