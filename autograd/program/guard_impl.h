/* What a guard is: an operation that computes nothing, but fails where its condition is not what it was when the program
 * was recorded. Operands: the condition, then what it compares, if it is a comparison. Whoever runs a program in another
 * way than by `forward` has to check them: guards are never left out. */
#ifndef AG_GUARD_IMPL_H
#define AG_GUARD_IMPL_H

#include "program_impl.h"

enum { GUARD_NAME = 48 };

typedef struct ag_guarding {
    int32_t expected;      /* whether the condition held */
    int32_t compared;      /* ag_opcode of the comparison, or -1 */
    char name[GUARD_NAME]; /* may be "" */
} ag_guarding;

extern const ag_operation ag_guard_operation;

static inline bool ag_is_guard(const ag_program *p, const ag_code *c) {
    return c->op == CODE_CALL && ag_pcall_at(p, c->extra)->operation == &ag_guard_operation;
}

/* Whether an instruction is a guard, or runs a program that has one. */
bool ag_can_refuse(const ag_program *p, const ag_code *c);
/* Notes of a finished program whether it has one. */
void ag_find_guards(ag_program *p);

typedef struct ag_guard_text {
    char text[256];
} ag_guard_text;
/* What is to be said where the guard does not hold, with the operands' values. */
ag_guard_text ag_guard_sentence(const ag_guarding *g, const double *values);

#endif
