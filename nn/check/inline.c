/* Expressions made from others. */
#include "nn/check/check_impl.h"

enum { MOST_NODES = 1000 };

ac_node *ac_copy_with(ac_arena *arena, const ac_node *parent, int operand, ac_node *inner) {
    ac_node *copy = ac_arena_take(arena, 1, sizeof *copy);
    ac_node **operands = ac_arena_take(arena, (size_t)parent->operand_count, sizeof(ac_node *));
    if (copy == NULL || operands == NULL) return NULL;
    *copy = *parent;
    copy->operands = memcpy(operands, parent->operands, (size_t)parent->operand_count * sizeof(ac_node *));
    operands[operand] = inner;
    return copy;
}

/* Definitions with locals stay names: they have a frame of their own. */
static const ac_node *replace(ac_arena *arena, const ac_node *node, int *left) {
    if (--*left < 0 || node->nesting == 0 || ac_is_derivative(node)) return node;
    if (node->kind == AC_NAME)
        return node->symbol->kind == AC_VALUE && node->symbol->frame_size == 0
                   ? replace(arena, node->symbol->body, left)
                   : node;
    for (int i = 0; i < node->operand_count; i++) {
        if (node->operands[i] == NULL) continue;
        const ac_node *inner = replace(arena, node->operands[i], left);
        if (inner == node->operands[i]) continue;
        const ac_node *copy = ac_copy_with(arena, node, i, (ac_node *)(uintptr_t)inner);
        if (copy == NULL) return node;
        node = copy;
    }
    return node;
}

const ac_node *ac_inline(ac_arena *arena, const ac_node *node) {
    int left = MOST_NODES;
    return replace(arena, node, &left);
}
