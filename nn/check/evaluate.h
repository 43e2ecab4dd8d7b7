/* Expressions recorded on a tape. */
#ifndef NN_CHECK_EVALUATE_H
#define NN_CHECK_EVALUATE_H

#include "nn/check/syntax.h"

#include <stdatomic.h>

/* An expression in place of another, for "what if this had been differentiated": see candidates.c. */
typedef struct ac_variant {
    const ac_node *derivative; /* this one; NULL: none. It becomes the derivative ... */
    ac_symbol *other;          /* by another name, */
    const ac_node *term;       /* or of its function less `share` times this term of it */
    double share;
    const ac_node *step; /* NULL: none. This step, wherever it is written, has its value and the derivative 1 by ... */
    int operand;         /* this operand; or 0 by everything, if this is -1 */
} ac_variant;

/* What stays known of a name when it is forgotten: enough to see that it is not what is looked for. */
typedef struct ac_glimpse {
    bool known;
    ag_shape shape;
    double first; /* entry, at the first draw */
} ac_glimpse;

/* The draws of a quantified name that were made so far, `count` numbers each: every claim is tested at the same ones. */
typedef struct ac_draws {
    double *x;
    int64_t count;
    double limit[2]; /* of a uniform one */
    int made, room;
} ac_draws;

/* What is known of a tape's contents: the values of the file's names. Names that depend on no quantified one are recorded
 * first and stay; the others are recorded anew for each draw. */
typedef struct ac_evaluator {
    const ac_file *file;
    ag_tape *tape;
    ac_error *error;
    uint64_t seed;
    size_t names; /* bytes of the file's arena when there was nothing in it but names */
    int draw;
    ag_var *values;            /* of the file's symbols, by index: */
    uint64_t *recorded;        /* valid if this is the generation of what it belongs to */
    uint64_t lasting, passing; /* the generations of names that stay, and of those of a draw */
    uint64_t generation;       /* the last one given out */
    ac_glimpse *glimpses;
    ac_draws *draws;
    size_t drawn;     /* numbers that there is room for in them */
    uint32_t *needed; /* work space: which symbols are needed, their stamps */
    uint32_t stamp;
    ac_symbol **order; /* work space: those symbols */
    ag_var *locals;
    int local_capacity, base, top, depth;
    ac_variant variant;
    bool derivative_is_zero; /* that by the other name of a variant */
    bool named;              /* give vars their names, for drawings */
    /* What is recorded is to become a program: where a number is read, that becomes a guard. */
    bool tracing;
    bool has_program;     /* memory is asked for beside the tape, by several threads: */
    size_t held;          /* bytes that the tape had then */
    atomic_size_t beside; /* bytes that were asked for since, freed ones too */
} ac_evaluator;

/* Makes a tape for a file, whose limits it keeps. False if there is no memory. */
bool ac_evaluator_open(ac_evaluator *e, const ac_file *file, ac_error *error, uint64_t seed);
void ac_evaluator_close(ac_evaluator *e);

/* Records what names need, in order of definition, and what these need, unless it is recorded: only names that stay, or
 * all. */
bool ac_prepare(ac_evaluator *e, ac_symbol *const *uses, int count, bool all);
/* Is a name recorded, for good or for this draw? */
bool ac_is_recorded(const ac_evaluator *e, const ac_symbol *symbol);
/* Marks in e->needed, by e->stamp, these names and all that they rest on. */
void ac_mark_needed(ac_evaluator *e, ac_symbol *const *uses, int count);
/* Starts a draw: forgets the values of quantified names and of what depends on them. */
void ac_start_draw(ac_evaluator *e, int draw);
/* Records the numbers of a quantified name whose definition is read. */
ag_var ac_draw_value(ac_evaluator *e, const ac_symbol *s);
/* Makes room to keep the numbers of a quantified name that was recorded, of so many draws; false if that is too much. */
bool ac_keep_draws(ac_evaluator *e, const ac_symbol *s, int draws);
/* These numbers at a draw, by several threads at a time for different draws: where they are kept or, if there is no room,
 * in `own`. */
const double *ac_draw_numbers(const ac_evaluator *e, const ac_symbol *s, int draw, double *own);
/* Tells that all draws before this one were asked for, and are kept if there is room. */
void ac_draws_are_made(ac_evaluator *e, const ac_symbol *s, int draws);
/* Forgets everything recorded, but not the tape; and brings it back. False if there is no memory. */
typedef struct ac_aside {
    ag_var *values;
    uint64_t *recorded;
    uint64_t lasting, passing;
} ac_aside;
bool ac_set_aside(ac_evaluator *e, ac_aside *aside);
void ac_bring_back(ac_evaluator *e, ac_aside *aside);
/* Forgets everything recorded. */
void ac_forget(ac_evaluator *e);

/* Records an expression whose names are prepared; an inert var after an error. */
ag_var ac_evaluate(ac_evaluator *e, const ac_node *node, int frame_size);
/* The same within an expression: its locals are those of that. */
ag_var ac_record(ac_evaluator *e, const ac_node *node);

/* Records an expression with a name standing for another var; what depends on the name is recorded anew. */
ag_var ac_record_with(ac_evaluator *e, const ac_node *node, ac_symbol *const *uses, int use_count, int frame_size,
                      ac_symbol *name, ag_var value);

/* The derivative that a node asks for, of y by x. */
ag_var ac_derivative(ac_evaluator *e, const ac_node *node, ag_var y, ag_var x);

/* A var that derivatives can be taken by, and that is not another name's too: then only paths through this name count. */
ag_var ac_own(ac_evaluator *e, ag_var x);

/* Sets the first local of the expression that is evaluated next. */
bool ac_set_local(ac_evaluator *e, ag_var x);

/* For what may fail without harm: forgets an error, unless time is up. */
void ac_forgive(ac_evaluator *e);

/* False, with an error at the span, if the tape failed or time is up. */
bool ac_is_fine(ac_evaluator *e, ac_span span);

#endif
