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

static const ac_node *substitute(ac_arena *arena, const ac_node *node, ac_node *const *arguments, int *left) {
    if (--*left < 0) return node;
    if (node->kind == AC_NAME) return node->symbol->kind == AC_LOCAL ? arguments[node->symbol->index] : node;
    for (int i = 0; i < node->operand_count && *left >= 0; i++) {
        if (node->operands[i] == NULL) continue;
        const ac_node *inner = substitute(arena, node->operands[i], arguments, left);
        if (inner == node->operands[i]) continue;
        const ac_node *copy = ac_copy_with(arena, node, i, (ac_node *)(uintptr_t)inner);
        if (copy == NULL) {
            *left = -1;
            break;
        }
        node = copy;
    }
    return node;
}

ac_node *ac_body_of(ac_arena *arena, const ac_node *apply) {
    ac_symbol *f = apply->symbol;
    int left = MOST_NODES;
    if (f->nesting > 0 || f->frame_size > f->argument_count || !ac_read_definition(f, NULL)) return NULL;
    const ac_node *body = substitute(arena, f->body, apply->operands, &left);
    return left < 0 ? NULL : (ac_node *)(uintptr_t)body;
}

/* Definitions with locals stay names: they have a frame of their own. */
static const ac_node *replace(ac_arena *arena, const ac_node *node, int *left) {
    if (--*left < 0 || node->nesting == 0 || ac_is_derivative(node)) return node;
    if (node->kind == AC_NAME)
        return node->symbol->kind == AC_VALUE && node->symbol->frame_size == 0 && ac_read_definition(node->symbol, NULL)
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
