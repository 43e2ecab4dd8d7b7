#include "nn/check/syntax.h"
#include "nn/memory.h"

enum { BLOCK = 1 << 16, ALIGNMENT = 16 };

typedef struct block {
    struct block *next;
    size_t used, size;
} block;

struct ac_arena {
    block *first;
};

static size_t rounded(size_t size) { return (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT; }

ac_arena *ac_arena_new(void) { return nn_allocate(1, sizeof(ac_arena)); }

void *ac_arena_take(ac_arena *arena, size_t count, size_t size) {
    const size_t header = rounded(sizeof(block));
    if (size > 0 && count > (SIZE_MAX / 2) / size) return NULL;
    size_t need = rounded(count * size + 1);
    block *b = arena->first;
    if (b == NULL || b->size - b->used < need) {
        size_t room = header + (need > BLOCK ? need : BLOCK);
        b = nn_allocate(1, room);
        if (b == NULL) return NULL;
        b->used = header;
        b->size = room;
        b->next = arena->first;
        arena->first = b;
    }
    void *memory = (char *)b + b->used;
    b->used += need;
    return memory;
}

void ac_arena_free(ac_arena *arena) {
    if (arena == NULL) return;
    while (arena->first != NULL) {
        block *next = arena->first->next;
        nn_release(arena->first);
        arena->first = next;
    }
    nn_release(arena);
}
