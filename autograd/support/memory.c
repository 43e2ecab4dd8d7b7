#include "memory_impl.h"

#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#if defined(__unix__) || defined(__APPLE__)
#include <sys/mman.h>
#define AG_CAN_RESERVE 1
#else
#define AG_CAN_RESERVE 0
#endif

static bool permitted(ag_memory *memory, size_t bytes) {
    return !memory->permit || memory->permit(memory->context, bytes);
}

void *ag_memory_resize(ag_memory *memory, void *block, size_t old_size, size_t new_size) {
    if (new_size == 0) {
        ag_memory_free(memory, block, old_size);
        return NULL;
    }
    if (new_size > old_size && !permitted(memory, new_size - old_size)) return NULL;
    void *moved = realloc(block, new_size);
    if (moved) memory->held += new_size - old_size;
    return moved;
}

void *ag_memory_zeroed(ag_memory *memory, size_t size) {
    if (!permitted(memory, size)) return NULL;
    void *block = calloc(size ? size : 1, 1);
    if (block) memory->held += size;
    return block;
}

void ag_memory_free(ag_memory *memory, void *block, size_t size) {
    if (block) memory->held -= size;
    free(block);
}

/* From this size on, pages are worth a call of the system. */
enum { LEAST_SPARSE = 1 << 20 };

static bool is_sparse(const ag_memory *memory, size_t size) {
    return AG_CAN_RESERVE && !memory->no_reserve && size >= LEAST_SPARSE;
}

void ag_memory_touch_often(void *block, size_t size) {
    enum { PAGE = 4096, WORTH = 4 << 20 };
#ifdef MADV_HUGEPAGE
    size_t skipped = (PAGE - (uintptr_t)block % PAGE) % PAGE;
    if (block && size >= WORTH) (void)madvise((char *)block + skipped, (size - skipped) / PAGE * PAGE, MADV_HUGEPAGE);
#else
    (void)block, (void)size;
#endif
}

void *ag_memory_sparse(ag_memory *memory, size_t size) {
    if (!is_sparse(memory, size)) return ag_memory_zeroed(memory, size);
#if AG_CAN_RESERVE
    if (!permitted(memory, size)) return NULL;
    void *block = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (block == MAP_FAILED) return NULL;
#ifdef MADV_NOHUGEPAGE
    (void)madvise(block, size, MADV_NOHUGEPAGE); /* a touch here and there would take all of it */
#endif
    memory->held += size;
    return block;
#else
    return NULL;
#endif
}

void ag_memory_sparse_free(ag_memory *memory, void *block, size_t size) {
    if (!block || !is_sparse(memory, size)) {
        ag_memory_free(memory, block, size);
        return;
    }
#if AG_CAN_RESERVE
    memory->held -= size;
    (void)munmap(block, size);
#endif
}

static size_t larger(size_t a, size_t b) { return a > b ? a : b; }
static size_t smaller(size_t a, size_t b) { return a < b ? a : b; }

static bool grow_by_copying(ag_memory *memory, ag_range *range, size_t need) {
    size_t size = larger(need, range->size < SIZE_MAX / 2 ? 2 * range->size : need);
    char *base = ag_memory_resize(memory, range->base, range->size, size);
    if (!base) return false;
    range->base = base;
    range->size = size;
    return true;
}

/* By halves, so that growing again ends where it was. */
static void trim_by_copying(ag_memory *memory, ag_range *range, size_t used) {
    size_t size = range->size;
    while (size > 64 && size / 2 >= used) size /= 2;
    char *base = size < range->size ? ag_memory_resize(memory, range->base, range->size, size) : NULL;
    if (base) *range = (ag_range){.base = base, .size = size};
}

#if AG_CAN_RESERVE

enum { PAGE = 1 << 12, HUGE_PAGE = 1 << 21, FIRST_COMMIT = 1 << 14, LARGEST_STEP = 1 << 28 };

static size_t round_up(size_t n, size_t unit) { return (n + unit - 1) / unit * unit; }

/* Small ranges that were freed, for the next that reserves as much: to ask the system for them, and to give them back, takes
 * longer than all that a small tape is used for. What was committed first stays ready, as zeros; to give more back means
 * to interrupt other threads. A thread that finds another one here does without. */
enum { SPARES = 64, LARGEST_SPARE = 1 << 20 };

static struct {
    atomic_flag busy;
    unsigned next; /* to make room, in turn */
    void *base[SPARES];
    size_t reserved[SPARES]; /* 0: none */
    size_t ready[SPARES];    /* committed */
} spares = {.busy = ATOMIC_FLAG_INIT};

static bool open_spares(void) { return !atomic_flag_test_and_set_explicit(&spares.busy, memory_order_acquire); }
static void close_spares(void) { atomic_flag_clear_explicit(&spares.busy, memory_order_release); }

/* NULL if there is none of that size. It reads as zeros. */
static void *take_spare(size_t reserved, size_t *ready) {
    void *base = NULL;
    if (!open_spares()) return NULL;
    for (int i = 0; i < SPARES && !base; i++) {
        if (spares.reserved[i] != reserved) continue;
        base = spares.base[i];
        *ready = spares.ready[i];
        spares.reserved[i] = 0;
    }
    close_spares();
    return base;
}

/* Makes zeros of a range; false if that is not worth it. */
static bool clear(const ag_range *range) {
    if (range->size <= FIRST_COMMIT) {
        memset(range->base, 0, range->size);
        return true;
    }
#ifdef __linux__ /* elsewhere pages that are not needed may keep what was in them */
    return range->size <= LARGEST_SPARE && madvise(range->base, range->size, MADV_DONTNEED) == 0;
#else
    return false;
#endif
}

/* False if it is too large. Where there are enough, another one goes: of sizes that nobody asks for any more there could be
 * many. */
static bool keep_spare(const ag_range *range) {
    if ((range->sparse && range->size > FIRST_COMMIT) || !clear(range) || !open_spares()) return false;
    unsigned i = 0;
    while (i < SPARES && spares.reserved[i]) i++;
    if (i == SPARES) i = spares.next++ % SPARES;
    void *base = spares.base[i];
    size_t reserved = spares.reserved[i];
    spares.base[i] = range->base;
    spares.reserved[i] = range->reserved;
    spares.ready[i] = smaller(range->size, FIRST_COMMIT);
    close_spares();
    if (reserved) (void)munmap(base, reserved);
    return true;
}

static void drop_spares(void) {
    if (!open_spares()) return;
    for (int i = 0; i < SPARES; i++) {
        if (spares.reserved[i]) (void)munmap(spares.base[i], spares.reserved[i]);
        spares.reserved[i] = 0;
    }
    close_spares();
}

static void *map(size_t size) {
    void *base = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return base == MAP_FAILED ? NULL : base;
}

/* Reserves address space for `most` bytes or, where that is refused, for less: down to 64 times `need`. So many bytes may
 * be ready. */
static bool reserve(ag_range *range, size_t need, size_t most, size_t *ready) {
    size_t least = larger(round_up(need, PAGE), 1 << 20);
    for (size_t size = round_up(larger(most, least), HUGE_PAGE);; size /= 4) {
        void *base = take_spare(size, ready);
        if (!base) base = map(size);
        if (!base) drop_spares(), base = map(size);
        if (base) {
            *range = (ag_range){.base = base, .reserved = size};
            return true;
        }
        if (size / 64 < least) return false;
    }
}

/* Commits pages in growing steps. A range that gets large uses huge pages, but not its first few, for small tapes. */
static bool commit(ag_memory *memory, ag_range *range, size_t need) {
    size_t size = larger(need, smaller(2 * range->size, range->size + LARGEST_STEP));
    size = smaller(round_up(larger(size, FIRST_COMMIT), size > HUGE_PAGE ? HUGE_PAGE : PAGE), range->reserved);
    size_t more = size - range->size;
    if (!permitted(memory, more)) return false;
    if (mprotect(range->base + range->size, more, PROT_READ | PROT_WRITE) != 0) return false;
#ifdef MADV_HUGEPAGE
    if (size > (range->sparse ? FIRST_COMMIT : 2 * HUGE_PAGE))
        (void)madvise(range->base + range->size, more, range->sparse ? MADV_NOHUGEPAGE : MADV_HUGEPAGE);
#endif
    memory->held += more;
    range->size = size;
    return true;
}

/* Commits the first pages, of which so many bytes are. */
static bool begin(ag_memory *memory, ag_range *range, size_t ready, size_t need) {
    if (ready < need) return commit(memory, range, need);
    if (!permitted(memory, ready)) return false;
    memory->held += ready;
    range->size = ready;
    return true;
}

static void release(ag_memory *memory, ag_range *range) {
    if (!keep_spare(range)) (void)munmap(range->base, range->reserved);
    memory->held -= range->size;
}

/* The reservation was too small: a larger one, or plain memory. */
static bool move(ag_memory *memory, ag_range *range, size_t need, size_t most) {
    ag_range next = {0};
    size_t ready = 0;
    bool ok =
        reserve(&next, need, most, &ready) ? begin(memory, &next, ready, need) : grow_by_copying(memory, &next, need);
    if (!ok) {
        ag_range_free(memory, &next);
        return false;
    }
    if (range->size) memcpy(next.base, range->base, smaller(range->size, next.size));
    next.sparse = range->sparse;
    ag_range_free(memory, range);
    *range = next;
    return true;
}

void ag_range_set_sparse(ag_range *range, size_t used, bool sparse) {
    range->sparse = sparse;
#ifdef MADV_HUGEPAGE
    size_t from = round_up(used, PAGE);
    if (range->reserved && from < range->size && range->size > 2 * HUGE_PAGE)
        (void)madvise(range->base + from, range->size - from, sparse ? MADV_NOHUGEPAGE : MADV_HUGEPAGE);
#else
    (void)used;
#endif
}

bool ag_range_grow(ag_memory *memory, ag_range *range, size_t need, size_t most) {
    if (need <= range->size) return true;
    if (need > most) return false;
    if (range->reserved && need <= range->reserved) return commit(memory, range, need);
    if (range->reserved || (!range->base && !memory->no_reserve)) return move(memory, range, need, most);
    return grow_by_copying(memory, range, need);
}

void ag_range_trim(ag_memory *memory, ag_range *range, size_t used) {
    if (range->reserved) {
        size_t keep = round_up(used, PAGE);
        if (keep < range->size) (void)madvise(range->base + keep, range->size - keep, MADV_DONTNEED);
    } else {
        trim_by_copying(memory, range, used);
    }
}

void ag_range_free(ag_memory *memory, ag_range *range) {
    if (range->reserved) release(memory, range);
    else ag_memory_free(memory, range->base, range->size);
    *range = (ag_range){0};
}

void *ag_memory_code(ag_memory *memory, size_t size) {
    if (!permitted(memory, size)) return NULL;
    void *block = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (block == MAP_FAILED) return NULL;
    memory->held += size;
    return block;
}

size_t ag_memory_seal_code(ag_memory *memory, void *block, size_t size, size_t used) {
    size_t kept = smaller(round_up(used, PAGE), size);
    if (mprotect(block, kept, PROT_READ | PROT_EXEC) != 0) return 0;
    if (kept == size || munmap((char *)block + kept, size - kept) != 0) return size;
    memory->held -= size - kept;
    return kept;
}

void ag_memory_code_free(ag_memory *memory, void *block, size_t size) {
    if (!block) return;
    memory->held -= size;
    (void)munmap(block, size);
}

#else

void *ag_memory_code(ag_memory *memory, size_t size) {
    (void)memory, (void)size;
    return NULL;
}

size_t ag_memory_seal_code(ag_memory *memory, void *block, size_t size, size_t used) {
    (void)memory, (void)block, (void)size, (void)used;
    return 0;
}

void ag_memory_code_free(ag_memory *memory, void *block, size_t size) { (void)memory, (void)block, (void)size; }

bool ag_range_grow(ag_memory *memory, ag_range *range, size_t need, size_t most) {
    if (need <= range->size) return true;
    return need <= most && grow_by_copying(memory, range, need);
}

void ag_range_set_sparse(ag_range *range, size_t used, bool sparse) { (void)range, (void)used, (void)sparse; }
void ag_range_trim(ag_memory *memory, ag_range *range, size_t used) { trim_by_copying(memory, range, used); }

void ag_range_free(ag_memory *memory, ag_range *range) {
    ag_memory_free(memory, range->base, range->size);
    *range = (ag_range){0};
}

#endif
