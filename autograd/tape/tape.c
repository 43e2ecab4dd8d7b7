/* Lifecycle of a tape: creation, errors, room, marks, statistics. */
#include "tape_impl.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdlib.h>

enum { LEAST_FORGOTTEN = 1 << 15 }; /* bytes of an adjoint: less is not worth looking for a place */
enum { SPARES = sizeof((ag_tape *)0)->spare / sizeof(void *) };
static void drop_spares(ag_tape *t);

const char *ag_status_text(ag_status status) {
    switch (status) {
#define X(name, text)                                                                                                  \
    case name: return text;
        AG_STATUSES(X)
#undef X
    }
    return "unknown status";
}

/* ---- errors ---- */

/* What ag_tape_new gives when there is no memory: in error for ever, and never written to. */
static ag_tape nil_tape = {.head = {.reject = UINT64_MAX},
                           .status = AG_ERR_MEMORY,
                           .message = "tape: out of memory when it was made, or 12,870 others were there"};

/* Where results are that have no tape. */
static ag_tape no_tape = {.head = {.reject = UINT64_MAX},
                          .status = AG_ERR_TAPE,
                          .message = "no tape: it is NULL, or all operands are plain numbers"};

/* Where scalars are whose tape was freed. */
static ag_tape freed_tape = {
    .head = {.reject = UINT64_MAX}, .status = AG_ERR_STALE, .message = "the tape of an operand was freed"};

static bool is_nil(const ag_tape *t) { return t == NULL || t == &nil_tape || t == &no_tape || t == &freed_tape; }

void ag_set_limit(ag_tape *t) {
    t->head.limit = 0;
    if (t->status != AG_OK || t->paused || t->type != AG_F64) return;
    uint64_t slots = t->values.size / sizeof(double);
    uint64_t by_instructions = ag_top(t) + t->instructions.size / sizeof(ag_instruction_) - ag_instruction_count(t);
    uint64_t limit = slots < by_instructions ? slots : by_instructions;
    t->head.limit = t->head.place >> 32 << 32 | (limit < MOST_SLOTS ? limit : MOST_SLOTS);
}

void ag_fail(ag_tape *t, ag_status status, const char *format, ...) {
    if (is_nil(t) || t->status != AG_OK || status == AG_OK) return;
    t->status = status;
    va_list args;
    va_start(args, format);
    vsnprintf(t->message, sizeof t->message, format ? format : ag_status_text(status), args);
    va_end(args);
    t->head.limit = 0;
}

bool ag_given(ag_tape *t, const char *what, const char *which, const void *pointer) {
    if (!pointer) ag_fail(t, AG_ERR_VALUE, "%s: %s is NULL", what, which);
    return pointer != NULL;
}

bool ag_out_of_memory(ag_tape *t, const char *what, uint64_t bytes) {
    ag_fail(t, AG_ERR_MEMORY, "%s: out of memory: %llu more bytes were refused, the tape holds %zu", what,
            (unsigned long long)bytes, t->memory.held);
    return false;
}

ag_status ag_tape_status(const ag_tape *t) { return t ? t->status : no_tape.status; }
const char *ag_tape_message(const ag_tape *t) { return t ? t->message : no_tape.message; }
ag_type ag_tape_type(const ag_tape *t) { return t ? t->type : AG_F64; }

void ag_tape_recover(ag_tape *t) {
    if (is_nil(t)) return;
    t->status = AG_OK;
    t->message[0] = '\0';
    ag_set_limit(t);
}

/* ---- room ---- */

static bool grow(ag_tape *t, const char *what, ag_range *range, uint64_t need, uint64_t most) {
    if (need <= range->size) return true;
    if (ag_range_grow(&t->memory, range, need, most)) return true;
    return ag_out_of_memory(t, what, need - range->size);
}

bool ag_make_room(ag_tape *t, const char *what, uint64_t slots, uint32_t instructions) {
    uint64_t top = ag_top(t) + slots + 1, count = ag_instruction_count(t) + (uint64_t)instructions + 1;
    uint64_t size = ag_type_size(t->type);
    if (top > MOST_SLOTS || count > MOST_SLOTS) {
        ag_fail(t, AG_ERR_SLOTS, "%s: out of slots: %llu more are needed, %u are in use, a tape has at most %llu", what,
                (unsigned long long)slots, ag_top(t), (unsigned long long)MOST_SLOTS);
        return false;
    }
    if (top * size <= t->values.size && count * sizeof(ag_instruction_) <= t->instructions.size) return true;
    uint32_t used = ag_instruction_count(t);
    if (!grow(t, what, &t->values, top * size, MOST_SLOTS * size)) return false;
    t->head.values = (double *)(void *)t->values.base;
    if (!grow(t, what, &t->instructions, count * sizeof(ag_instruction_), MOST_SLOTS * sizeof(ag_instruction_)))
        return false;
    t->head.next = ag_instructions(t) + used;
    ag_set_limit(t);
    return true;
}

/* ---- stamps and sections ---- */

/* The next number of `bits` bits of which `weight` are set, going round. */
static uint32_t next_code(uint32_t code, int bits, int weight) {
    for (;;) {
        code = (code + 1) & ((1u << bits) - 1);
        int set = 0;
        for (uint32_t c = code; c; c &= c - 1) set++;
        if (set == weight) return code;
    }
}

enum { CLEAR_SHIFT = STAMP_SHIFT, CLEAR_BITS = 6, REWIND_SHIFT = VIEW_BITS + CLEAR_BITS, REWIND_BITS = 8 };

static uint32_t latest_stamp(const ag_tape *t) { return (uint32_t)(t->head.place >> 32) >> STAMP_SHIFT << STAMP_SHIFT; }

static uint32_t stamp_after_clear(uint32_t stamp) {
    uint32_t code = (stamp >> CLEAR_SHIFT) & ((1u << CLEAR_BITS) - 1);
    return next_code(code, CLEAR_BITS, CLEAR_BITS / 2) << CLEAR_SHIFT;
}

static uint32_t stamp_after_rewind(uint32_t stamp) {
    uint32_t clear = stamp & (((1u << CLEAR_BITS) - 1) << CLEAR_SHIFT);
    return clear | next_code(stamp >> REWIND_SHIFT, REWIND_BITS, REWIND_BITS / 2) << REWIND_SHIFT;
}

static void use_stamp(ag_tape *t, uint32_t stamp) {
    uint32_t upper = stamp | t->number;
    t->head.place = (uint64_t)upper << 32 | ag_top(t);
    t->head.reject = ((uint64_t)~upper << 32) & ~AG_ASK_;
}

const ag_section *ag_earlier_section(const ag_tape *t, uint32_t slot) {
    const ag_section *s = ag_sections(t);
    uint32_t lo = 0, hi = t->section_count;
    while (hi - lo > 1) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (s[mid].start <= slot) lo = mid;
        else hi = mid;
    }
    return &s[lo];
}

/* The var of a slot and a view, which is not of an active scalar. */
static ag_var tensor_var(ag_tape *t, uint32_t slot, uint32_t view, uint32_t stamp) {
    ag_var v = {AG_TENSOR_ | (uint64_t)(stamp | view) << 32 | slot, 0};
    memcpy(&v.value, &t, sizeof t);
    return v;
}

ag_var ag_var_of(ag_tape *t, uint32_t slot, uint32_t view) {
    uint32_t stamp = ag_section_of(t, slot)->stamp;
    if (view != VIEW_SCALAR) return tensor_var(t, slot, view, stamp);
    return (ag_var){AG_ASK_ | (uint64_t)(stamp | t->number) << 32 | slot, 0};
}

ag_var ag_inert(ag_tape *t) { return tensor_var(t ? t : &no_tape, 0, VIEW_INERT, 0); }

static bool push_section(ag_tape *t, uint32_t stamp) {
    uint64_t need = (t->section_count + (uint64_t)1) * sizeof(ag_section);
    if (!grow(t, "mark", &t->sections, need, MOST_SLOTS * sizeof(ag_section))) return false;
    ag_sections(t)[t->section_count++] = (ag_section){.id = ++t->next_mark,
                                                      .start = ag_top(t),
                                                      .stamp = stamp,
                                                      .instructions = ag_instruction_count(t),
                                                      .nodes = t->node_top,
                                                      .bases = t->base_count,
                                                      .names = t->label_count,
                                                      .checkpoints = t->checkpoint_count};
    use_stamp(t, stamp);
    return true;
}

/* A boundary that constants recorded later are counted from, so that a rewind need not correct older instructions. */
static void push_position(ag_tape *t) { ag_push_instruction(t, OP_LEAF, NOTHING, ag_top(t), ag_top(t)); }

ag_mark ag_tape_mark(ag_tape *t) {
    if (is_nil(t) || t->status != AG_OK) return (ag_mark){0, UINT32_MAX};
    const ag_section *last = &ag_sections(t)[t->section_count - 1];
    if (t->section_count > 1 && last->start == ag_top(t) && last->instructions + 1 == ag_instruction_count(t) &&
        last->names == t->label_count)
        return (ag_mark){last->id,
                         t->section_count - 1}; /* nothing is new: a loop that marks and rewinds does not grow */
    if (!ag_make_room(t, "mark", 0, 1)) return (ag_mark){0, UINT32_MAX};
    if (!push_section(t, stamp_after_rewind(latest_stamp(t)))) return (ag_mark){0, UINT32_MAX};
    push_position(t);
    ag_set_limit(t);
    return (ag_mark){t->next_mark, t->section_count - 1};
}

static void return_to(ag_tape *t, const ag_section *s) {
    t->head.next = ag_instructions(t) + s->instructions;
    ag_set_top(t, s->start);
    t->node_top = s->nodes;
    t->base_count = s->bases;
    while (t->label_count > s->names) t->text_top = ((ag_label *)(void *)t->labels.base)[--t->label_count].text;
    if (t->checkpoint_count > s->checkpoints) t->checkpoint_count = s->checkpoints;
    if (t->swept_top > s->start) t->swept_top = s->start;
    while (t->watched_count > 0 && t->watched[t->watched_count - 1].slot >= s->start) t->watched_count--;
}

void ag_tape_rewind(ag_tape *t, ag_mark mark) {
    if (is_nil(t) || t->status != AG_OK) return;
    if (mark.section >= t->section_count || ag_sections(t)[mark.section].id != mark.id) {
        ag_fail(t, AG_ERR_STALE, "rewind: the mark is of a part of the tape that was itself rewound or cleared");
        return;
    }
    ag_section *s = &ag_sections(t)[mark.section];
    s->stamp = stamp_after_rewind(latest_stamp(t));
    t->section_count = mark.section + 1;
    return_to(t, s);
    use_stamp(t, s->stamp);
    push_position(t);
    ag_set_limit(t);
}

void ag_pause(ag_tape *t) {
    if (is_nil(t)) return;
    t->paused++;
    ag_set_limit(t);
}

void ag_resume(ag_tape *t) {
    if (is_nil(t)) return;
    if (t->paused == 0) {
        ag_fail(t, AG_ERR_VALUE, "resume: the tape is not paused");
        return;
    }
    t->paused--;
    ag_set_limit(t);
}

bool ag_expects_sweep(const ag_tape *t) { return !t->paused && !t->tracing; }
bool ag_is_tracing(const ag_tape *t) { return t->tracing; }

uint32_t ag_suspend_pause(ag_tape *t) {
    uint32_t paused = t->paused;
    ag_restore_pause(t, 0);
    return paused;
}

void ag_restore_pause(ag_tape *t, uint32_t paused) {
    t->paused = paused;
    ag_set_limit(t);
}

/* Whether values behind those that are there are few and far between. */
static void set_sparse(ag_tape *t, bool sparse) {
    ag_range_set_sparse(&t->values, sparse ? (ag_top(t) + (size_t)1) * ag_type_size(t->type) : 0, sparse);
}

void ag_tape_trace(ag_tape *t, bool on) {
    if (is_nil(t)) return;
    t->tracing = on;
    if (t->without_values) {
        t->without_values = t->abstract = false;
        set_sparse(t, false);
    }
    ag_set_limit(t);
}

void ag_tape_trace_shapes(ag_tape *t) {
    if (is_nil(t) || t->abstract) return;
    if (!t->tracing) ag_fail(t, AG_ERR_VALUE, "trace_shapes: the tape is not traced");
    else {
        t->without_values = t->abstract = true;
        set_sparse(t, true);
    }
    ag_set_limit(t);
}

/* ---- numbers of tapes ---- */

ag_tape *ag_tapes_[AG_TAPES_];
static pthread_mutex_t numbering = PTHREAD_MUTEX_INITIALIZER;

/* Numbers go round, so that the scalars of a tape that was freed are long known to be its. 0: all are in use. */
static uint32_t take_number(ag_tape *t) {
    static uint32_t last;
    pthread_mutex_lock(&numbering);
    uint32_t first = next_code(last, NUMBER_BITS, NUMBER_BITS / 2), number = first;
    while (ag_tapes_[number] && ag_tapes_[number] != &freed_tape) {
        number = next_code(number, NUMBER_BITS, NUMBER_BITS / 2);
        if (number == first) number = 0;
    }
    if (number) ag_tapes_[last = number] = t;
    pthread_mutex_unlock(&numbering);
    return number;
}

static void give_back_number(const ag_tape *t) {
    if (!t->number) return;
    pthread_mutex_lock(&numbering);
    ag_tapes_[t->number] = &freed_tape;
    pthread_mutex_unlock(&numbering);
}

/* ---- lifecycle ---- */

static bool start(ag_tape *t) {
    t->head.next = ag_instructions(t);
    if (!ag_make_room(t, "tape", 0, 1)) return false;
    t->section_count = 0;
    if (!push_section(t, stamp_after_clear(latest_stamp(t)))) return false;
    push_position(t);
    ag_set_limit(t);
    return true;
}

ag_tape *ag_tape_new_with(const ag_options *options) {
    const ag_options none = {.type = AG_F64};
    if (!options) options = &none;
    ag_memory memory = {options->permit, options->context, options->no_reserve, 0};
    ag_tape *t = ag_memory_zeroed(&memory, sizeof *t);
    if (!t) return &nil_tape;
    t->memory = memory;
    t->type = options->type == AG_F32 ? AG_F32 : AG_F64;
    t->kernels = ag_kernels_for(t->type);
    t->forget_from = LEAST_FORGOTTEN;
    t->number = take_number(t);
    if (t->number && ag_open_views(t) && start(t)) return t;
    ag_tape_free(t);
    return &nil_tape;
}

ag_tape *ag_tape_new(ag_type type) { return ag_tape_new_with(&(ag_options){.type = type}); }

void ag_tape_free(ag_tape *t) {
    if (is_nil(t)) return;
    give_back_number(t);
    drop_spares(t);
    ag_free_blocks(t);
    ag_drop_held(t);
    ag_close_views(t);
    ag_range *ranges[] = {&t->values, &t->adjoints, &t->instructions, &t->nodes,       &t->bases, &t->sections,
                          &t->labels, &t->texts,    &t->views,        &t->checkpoints, &t->held};
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++) ag_range_free(&t->memory, ranges[i]);
    ag_memory_free(&t->memory, t->watched, t->watched_capacity * sizeof *t->watched);
    ag_memory memory = t->memory;
    ag_memory_free(&memory, t, sizeof *t);
}

void ag_tape_clear(ag_tape *t) {
    if (is_nil(t)) return;
    ag_drop_held(t);
    return_to(t, &(ag_section){0});
    t->paused = 0;
    ag_tape_recover(t);
    (void)start(t);
}

void ag_tape_trim(ag_tape *t) {
    if (is_nil(t)) return;
    drop_spares(t);
    ag_free_blocks(t);
    size_t size = ag_type_size(t->type);
    if (t->values.reserved) ag_range_trim(&t->memory, &t->values, (ag_top(t) + (size_t)1) * size);
    if (t->adjoints.reserved) ag_range_trim(&t->memory, &t->adjoints, ADJOINTS_AT + t->swept_top * size);
    uint32_t used = ag_instruction_count(t);
    ag_range_trim(&t->memory, &t->instructions, (used + (size_t)1) * sizeof(ag_instruction_));
    ag_range_trim(&t->memory, &t->nodes, (size_t)t->node_top * 8);
    ag_range_trim(&t->memory, &t->bases, t->base_count * sizeof(ag_base));
    t->head.values = (double *)(void *)t->values.base;
    t->head.next = ag_instructions(t) + used;
    ag_set_limit(t);
}

size_t ag_tape_held(const ag_tape *t) { return is_nil(t) ? 0 : t->memory.held; }

ag_stats ag_tape_stats(ag_tape *t) {
    ag_stats s = {0};
    if (is_nil(t)) return s;
    for (const ag_instruction_ *i = ag_instructions(t); i < t->head.next; i++) {
        uint32_t op = ag_op_of(i);
        s.scalar_instructions += op < AG_OPCODES;
        s.tensor_instructions += op == OP_NODE;
    }
    s.slots = ag_top(t);
    s.instruction_bytes =
        ag_instruction_count(t) * sizeof(ag_instruction_) + (size_t)t->node_top * 8 + t->base_count * sizeof(ag_base);
    s.value_bytes = s.slots * ag_type_size(t->type);
    s.adjoint_bytes = t->swept_top * ag_type_size(t->type);
    s.held_bytes = t->memory.held;
    return s;
}

/* The size stands before a block, for ag_scratch_free. Of the blocks that are kept the smallest that fits. */
static size_t *take_spare(ag_tape *t, size_t size) {
    void **best = NULL;
    for (size_t i = 0; i < SPARES; i++) {
        size_t *block = t->spare[i];
        if (block && *block >= size && (!best || *block < *(size_t *)*best)) best = &t->spare[i];
    }
    size_t *block = best ? *best : NULL;
    if (best) *best = NULL;
    return block;
}

static void drop_spares(ag_tape *t) {
    for (size_t i = 0; i < SPARES; i++) {
        size_t *block = t->spare[i];
        t->spare[i] = NULL;
        ag_memory_free(&t->memory, block, block ? *block : 0);
    }
}

void *ag_scratch(ag_tape *t, size_t bytes) {
    size_t *block = bytes <= SIZE_MAX - 64 ? take_spare(t, bytes + 64) : NULL;
    if (block) return (char *)block + 64;
    block = bytes <= SIZE_MAX - 64 ? ag_memory_resize(&t->memory, NULL, 0, bytes + 64) : NULL;
    if (!block) {
        ag_out_of_memory(t, "work space", bytes);
        return NULL;
    }
    *block = bytes + 64;
    return (char *)block + 64;
}

/* Where a block can be kept: a free place, or that of the smallest one that is kept. */
static void **place_for_spare(ag_tape *t) {
    void **smallest = &t->spare[0];
    for (size_t i = 0; i < SPARES && *smallest; i++)
        if (!t->spare[i] || *(size_t *)t->spare[i] < *(size_t *)*smallest) smallest = &t->spare[i];
    return smallest;
}

void ag_scratch_free(ag_tape *t, void *memory) {
    if (!memory) return;
    size_t *block = (size_t *)(void *)((char *)memory - 64);
    if (t->keeps_scratch) {
        void **place = place_for_spare(t);
        size_t *kept = *place;
        if (!kept || *kept < *block) {
            *place = block;
            block = kept;
        }
    }
    ag_memory_free(&t->memory, block, block ? *block : 0);
}
