/* What the parts of checking share. */
#ifndef NN_CHECK_CHECK_IMPL_H
#define NN_CHECK_CHECK_IMPL_H

#include "nn/check/check.h"
#include "nn/check/claim_impl.h"

/* Numbers that are used again by the next check: new pages cost more than what is done with them. */
typedef struct ac_room {
    double *values;
    size_t count;
} ac_room;

/* A check under way. */
typedef struct ac_trial {
    ac_evaluator *e;
    const ac_statement *statement;
    const ac_node *left; /* its left side, with the definitions of names of derivatives in their place */
    nn_claim claim;
    double *right, *claimed, *base;     /* of the draws that are kept, in rooms: */
    ac_room *rooms;                     /* three */
    int64_t right_count, claimed_count; /* of one draw */
    int kept;                           /* how many draws there is room for: all, or two */
    int shown;                          /* where among them the worst one is */
    bool literal;
    char base_name[96];
    ac_finding *finding;
} ac_trial;

/* Goes to a draw: quantified names are recorded. */
bool ac_go_to_draw(ac_trial *trial, int draw);

/* Computes both sides at every draw and compares them. What is kept: the worst draw or, if one is wrong, all of them. */
bool ac_compare(ac_trial *trial, nn_comparison *worst);
/* Records the first draw; its sides are kept, too, the first of two draws. False after an error. */
bool ac_record_first(ac_trial *trial, ag_var sides[2]);
/* Room for `count` numbers at every draw that is kept. NULL after an error. */
double *ac_take_draws(ac_trial *trial, ac_room *room, ac_span span, int64_t count);
/* The claim with these sides, of so many draws. */
nn_claim ac_claim_of(const ac_trial *trial, const double *right, const double *claimed, int draws);

/* A law as a program, made at the first draw, which is kept, and run for the others on all threads; see law.c. NULL if it
 * cannot be one. */
typedef struct ac_law ac_law;
ac_law *ac_law_open(ac_trial *trial);
void ac_law_close(ac_law *law); /* NULL is fine */
/* Compares what comes after the first draw, which *worst is of, up to one that is wrong. The worst is kept. False if a draw
 * has to be computed step by step; with an error if time is up or all draws are too much memory. */
bool ac_law_compare_rest(ac_law *law, nn_comparison *worst);
/* Computes, keeps and compares all draws. Likewise. */
bool ac_law_compare_all(ac_law *law, nn_comparison *worst);

/* Asks both witnesses about every derivative on the left side, at a draw. */
void ac_ask_witnesses(ac_trial *trial, int draw);

/* missing-factor, other-variable, missing-term, and a factor of one term: the mistakes that only the file's other names
 * and terms explain. For nn_claim.search. */
bool ac_search(void *trial, nn_diagnosis *diagnosis);

/* Copies a node with another operand; NULL if there is no memory. */
ac_node *ac_copy_with(ac_arena *arena, const ac_node *parent, int operand, ac_node *inner);
/* What a call of a function of the file stands for: its body with the arguments in their place. NULL where that would not
 * be the same (derivatives by an argument, equations within) or is too long. */
ac_node *ac_body_of(ac_arena *arena, const ac_node *apply);
/* An expression in which names that are derivatives, or made of some, are replaced by what defines them. */
const ac_node *ac_inline(ac_arena *arena, const ac_node *node);

/* The derivatives on the left side that are not within others; up to `most` of them. */
int ac_find_derivatives(const ac_node *node, const ac_node **found, int most);

/* A function whose derivative is claimed, and where. */
typedef struct ac_drawn {
    const ac_node *function;
    const ac_statement *statement;
} ac_drawn;
/* Those of a file in its order, each once; up to `most` of them. */
int ac_find_functions(const ac_file *file, ac_drawn *found, int most);
/* Writes the graph of what leads to one, for Graphviz, and whether it has adjoints; false if it has more steps than that,
 * cannot be computed, or writing failed. */
bool ac_draw_function(const ac_file *file, const ac_drawn *drawn, const ac_options *options, int most_steps, FILE *out,
                      int64_t *steps, bool *adjoints);

#endif
