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

/* What is known of a law before its turn, from looking at several together. */
typedef enum ac_outlook {
    AC_UNKNOWN,
    AC_HOLDS,
    AC_WRONG,
    AC_LIKE_FIRST /* wrong, and all draws are as was guessed by the first one */
} ac_outlook;
enum { AC_MOST_LAWS = 16 }; /* together */

/* Derivatives to which both witnesses agreed, the last ones: many claims may be about one. */
enum { AC_MOST_AGREED = 32 };
typedef struct ac_agreed {
    struct {
        ac_span span; /* of the derivative as written */
        int draw;
    } list[AC_MOST_AGREED];
    int count; /* of all, the forgotten ones too */
} ac_agreed;

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
    ac_outlook outlook;  /* AC_LIKE_FIRST: the claim is that of the first draw */
    nn_comparison worst; /* so far, of the draws that were compared */
    nn_guess guess;      /* if the first one is wrong */
    bool open;           /* AC_LIKE_FIRST: it takes all draws to tell what is wrong */
    char base_name[96];
    ac_finding *finding;
    ac_agreed *agreed;
} ac_trial;

/* Goes to a draw: quantified names are recorded. */
bool ac_go_to_draw(ac_trial *trial, int draw);

/* Computes both sides at every draw and compares them. What is kept: the worst draw or, if one is wrong, all of them;
 * or, if that says it all, the first one and the worst. */
bool ac_compare(ac_trial *trial, nn_comparison *worst);
/* Records both sides at the draw that is recorded, the first one, and compares them. False after an error. */
bool ac_record_first(ac_trial *trial, ag_var sides[2]);
/* Room for `count` numbers at every draw that is kept. NULL after an error. */
double *ac_take_draws(ac_trial *trial, ac_room *room, ac_span span, int64_t count);
/* Takes room for both sides of all draws. False after an error. */
bool ac_take_all_draws(ac_trial *trial);
/* The claim with these sides, of so many draws. */
nn_claim ac_claim_of(const ac_trial *trial, const double *right, const double *claimed, int draws);

/* Values as a program, made at the draw that is recorded and run for others on all threads; see runs.c. */
enum { AC_MOST_WORKERS = 64 };
typedef struct ac_runs ac_runs;
/* Asked by several workers at a time. */
typedef struct ac_visitor {
    void *context;
    /* Where the values of a draw are to go, if not where the worker has room for them; or NULL. */
    void (*place)(void *context, int draw, double **values);
    bool (*visit)(void *context, int worker, int draw, double *const *values); /* false: no more draws are needed */
} ac_visitor;
/* Records what is to be frozen, or no longer. */
void ac_trace(ac_evaluator *evaluator, bool on);
/* Freezes values of the draw that is recorded, which may be forgotten then. */
ac_runs *ac_runs_freeze(ac_evaluator *evaluator, ag_var values[], int count, int draws);
/* False if it cannot be run. */
bool ac_runs_open(ac_runs *runs);
/* Runs it for draws from this one on. False if that is to be done step by step, or, with an error at the span, if time is
 * up. */
bool ac_runs_visit(ac_runs *runs, int first, ac_span span, const ac_visitor *visitor);
void ac_runs_close(ac_runs *runs); /* NULL is fine */

/* Laws as one program, made at the first draw and run for the others on all threads; see law.c. What cannot be one is to
 * be computed step by step; there is an error only if time is up. */

/* Tells the outlook of each, and its worst draw; of those that cannot be computed together it stays unknown. Returns how
 * many were computed together. */
int ac_laws_look(ac_trial *const *trials, int count);
/* Computes, keeps and compares all draws. False if that has to be done step by step. */
bool ac_law_compare_all(ac_trial *trial, nn_comparison *worst);

/* The laws of some statements, looked at together ahead of their turn; see ahead.c. Zeroed: none. */
typedef struct ac_ahead {
    int together; /* laws before this statement are looked at one at a time */
    int count;
    struct {
        const ac_statement *statement;
        ac_outlook outlook;
        nn_comparison worst;
        nn_guess guess;
    } laws[AC_MOST_LAWS];
    ac_room rooms[AC_MOST_LAWS][3];
} ac_ahead;
/* Looks at the statement at `place` of the file, which is the next one, and at others behind it, if that is a law and was
 * not looked at. False after an error. */
bool ac_look_ahead(ac_ahead *ahead, ac_evaluator *evaluator, int draws, int place);
void ac_tell_outlook(const ac_ahead *ahead, ac_trial *trial);
void ac_ahead_close(ac_ahead *ahead);

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
