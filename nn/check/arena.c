#include "nn/check/syntax.h"
#include "nn/memory.h"

enum { BLOCK = 1 << 16, ALIGNMENT = 16 };

typedef struct ac_block {
    struct ac_block *next;
    size_t used, size;
} block;

struct ac_arena {
    block *first;
    size_t held, most;
    bool full;
};

static size_t rounded(size_t size) { return (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT; }

ac_arena *ac_arena_new(size_t most) {
    ac_arena *arena = nn_allocate(1, sizeof *arena);
    if (arena != NULL) arena->most = most;
    return arena;
}

bool ac_arena_is_full(const ac_arena *arena) { return arena->full; }
size_t ac_arena_held(const ac_arena *arena) { return arena->held; }

void *ac_arena_take(ac_arena *arena, size_t count, size_t size) {
    const size_t header = rounded(sizeof(block));
    if (size > 0 && count > (SIZE_MAX / 2) / size) return NULL;
    size_t need = rounded(count * size + 1);
    block *b = arena->first;
    if (b == NULL || b->size - b->used < need) {
        size_t room = header + (need > BLOCK ? need : BLOCK);
        arena->full = room > arena->most - arena->held;
        b = arena->full ? NULL : nn_allocate(1, room);
        if (b == NULL) return NULL;
        arena->held += room;
        b->used = header;
        b->size = room;
        b->next = arena->first;
        arena->first = b;
    }
    void *memory = (char *)b + b->used;
    b->used += need;
    return memory;
}

static void free_first(ac_arena *arena) {
    block *first = arena->first;
    arena->first = first->next;
    arena->held -= first->size;
    nn_release(first);
}

ac_arena_mark ac_arena_place(const ac_arena *arena) {
    return (ac_arena_mark){arena->first, arena->first != NULL ? arena->first->used : 0};
}

void ac_arena_rewind(ac_arena *arena, ac_arena_mark mark) {
    while (arena->first != mark.block) free_first(arena);
    block *b = mark.block;
    if (b == NULL) return;
    memset((char *)b + mark.used, 0, b->used - mark.used);
    b->used = mark.used;
}

void ac_arena_free(ac_arena *arena) {
    if (arena == NULL) return;
    while (arena->first != NULL) free_first(arena);
    nn_release(arena);
}
