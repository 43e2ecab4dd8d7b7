/* Mistakes that only the file's other names and terms explain. Each candidate is tried at the first draw, and what fits
 * there at all others. */
#include "nn/check/check_impl.h"
#include "nn/check/functions.h"
#include "nn/compare.h"
#include "nn/memory.h"

#include <math.h>

enum { MOST = 400, MOST_DEPTH = 100, MOST_VISITS = 20000, MOST_RECORDED = 1 << 20 };

/* How a factor of lower rank meets a matrix. */
typedef enum spread { WHOLE, DOWN_THE_ROWS, ALONG_THE_ROWS } spread;

typedef struct candidate {
    ac_symbol *name;     /* a named value, or the name that was differentiated by */
    const ac_node *step; /* or: a function of one operand, whose local derivative it is; */
    int operand;         /* that operand */
    const ac_node *term; /* or: a term */
    ac_span span;        /* of the term as written */
} candidate;

/* A candidate's value at a draw. */
typedef struct sight {
    nn_claim claim; /* that draw's */
    int draw;
    double *value;
    spread how; /* of a factor, and its shape */
    ag_shape shape;
    bool zero;   /* it is of a derivative that is 0 */
    bool seen;   /* there was a draw at which the candidate makes a difference, */
    bool proved; /* and one at which it gives more than 0, which anything times 0 does */
} sight;

typedef struct search {
    ac_trial *t;
    nn_diagnosis *d;
    const ac_node *derivative; /* the one on the left side; NULL: none, or several */
    candidate list[MOST];
    int count, visits;       /* of candidates; of nodes while they are looked for */
    sight at;                /* the draw at hand; room for as many numbers as the larger side has */
    double *more;            /* as much room */
    ag_var x;                /* the candidate's value, */
    bool (*fits)(sight *at); /* whether that explains what is claimed; NULL: it is not by one value that this is seen */
    bool rounded;            /* that depends on how small a difference does not matter */
    bool freezing;           /* it is not to be seen now */
    char words[160];
    uint64_t recorded; /* numbers, to try what has to be recorded anew */
    ag_mark start;     /* before names of a draw: */
    int prepared;      /* that draw, or -1: nothing is recorded behind the start; */
    uint64_t passing;  /* and its generation */
} search;

typedef bool (*attempt)(search *s, const candidate *c);

static bool add(search *s, candidate c) {
    if (s->count < MOST) s->list[s->count++] = c;
    return true;
}

static bool same_shape(const ac_trial *t) { return nn_same_shape(t->claim.right_shape, t->claim.claimed_shape); }

/* Is the claim that of a law's first draw? Then both sides of the others have to be computed again. */
static bool is_first(const search *s) { return s->t->outlook == AC_LIKE_FIRST; }

/* Does the value that was recorded explain what is claimed? */
static bool explains(search *s, ag_var x, bool (*fits)(sight *at)) {
    s->x = x;
    s->fits = fits;
    if (s->freezing) return true;
    ag_read(x, s->at.value);
    return ac_is_fine(s->t->e, s->t->statement->span) && fits(&s->at);
}

static void go_to(sight *at, const ac_trial *t, int draw) {
    at->claim = ac_claim_of(t, t->claim.right + draw * t->right_count, t->claim.claimed + draw * t->claimed_count, 1);
    at->draw = draw;
}

/* Names of a draw stay recorded from one candidate to the next. */
static bool prepare(search *s, int draw) {
    ac_evaluator *e = s->t->e;
    if (s->prepared == draw && s->passing == e->passing) return true;
    ag_tape_rewind(e->tape, s->start);
    bool fine = ac_go_to_draw(s->t, draw);
    s->prepared = fine ? draw : -1;
    s->passing = e->passing;
    return fine;
}

/* What it records is forgotten. */
static bool at_draw(search *s, attempt f, const candidate *c, int draw) {
    ac_evaluator *e = s->t->e;
    go_to(&s->at, s->t, draw);
    bool fits = prepare(s, draw);
    ag_mark mark = ag_tape_mark(e->tape);
    fits = fits && f(s, c) && !e->error->set;
    if (e->error->set) {
        fits = false;
        s->prepared = -1;
        ac_forgive(e); /* most do not even have the right shape */
    }
    ag_tape_rewind(e->tape, s->prepared < 0 ? s->start : mark);
    return fits && !e->error->set;
}

/* A candidate that fits so far. */
typedef struct hope {
    const search *s;
    double floor;
    atomic_bool fits;
} hope;

static bool see(void *context, int worker, int draw, double *const *values) {
    hope *h = context;
    sight at = h->s->at;
    (void)worker;
    go_to(&at, h->s->t, is_first(h->s) ? 0 : draw);
    at.value = values[0];
    at.claim.floor = h->floor;
    if (is_first(h->s)) {
        at.claim.right = values[1];
        at.claim.claimed = values[2];
    }
    if (!h->s->fits(&at)) atomic_store(&h->fits, false);
    return atomic_load(&h->fits);
}

/* The value that explains the claim and, if they are not kept, both sides. Returns how many these are; 0 after an error. */
static int record_all(search *s, attempt f, const candidate *c, ag_var x[3]) {
    const ac_statement *statement = s->t->statement;
    bool fine = ac_go_to_draw(s->t, 0) && f(s, c);
    x[0] = s->x;
    for (int i = 1; i < 3 && is_first(s) && fine; i++) {
        x[i] = ac_evaluate(s->t->e, i == 1 ? statement->left : statement->right, statement->frame_size);
        fine = !s->t->e->error->set;
    }
    return !fine || s->t->e->error->set ? 0 : is_first(s) ? 3 : 1;
}

/* The same at all draws, as runs of a program; false if that cannot be. */
static bool run_draws(search *s, attempt f, const candidate *c, hope *h) {
    ac_evaluator *e = s->t->e;
    ag_var x[3];
    ag_mark mark = ag_tape_mark(e->tape);
    ac_trace(e, s->freezing = true);
    int count = record_all(s, f, c, x);
    ac_runs *runs = count == 0 ? NULL : ac_runs_freeze(e, x, count, s->t->finding->draws);
    ac_trace(e, s->freezing = false);
    ac_forgive(e);
    ag_tape_rewind(e->tape, mark);
    bool done = ac_runs_open(runs) && ac_runs_visit(runs, 0, s->t->statement->span, &(ac_visitor){h, NULL, see});
    ac_runs_close(runs);
    return done;
}

/* Does it fit at all draws? False if runs do not tell: what is small is known for sure only with all draws at hand. */
static bool is_decided(search *s, attempt f, const candidate *c, bool *fits) {
    const nn_claim *claim = &s->t->claim;
    hope h = {.s = s, .floor = claim->floor};
    if (is_first(s)) h.floor = nn_claim_floor(claim);
    atomic_store(&h.fits, true);
    if (s->fits == NULL || s->t->outlook == AC_UNKNOWN || !run_draws(s, f, c, &h)) return false;
    *fits = atomic_load(&h.fits);
    return *fits || h.floor == claim->floor || !s->rounded;
}

/* Does `f` hold at every draw, and is it needed at one? Runs do not tell what it is needed at, and are for laws that are
 * small enough for them. */
static bool at_every_draw(search *s, attempt f, const candidate *c) {
    ac_trial *t = s->t;
    s->at.seen = s->at.zero = false;
    s->at.proved = true;
    s->fits = NULL;
    s->rounded = false;
    bool fits = at_draw(s, f, c, 0);
    if (!fits) return false;
    if (t->finding->draws > 1 && s->at.seen && s->at.proved && is_decided(s, f, c, &fits)) return fits;
    if (is_first(s)) return t->open = true;
    for (int draw = 1; draw < t->claim.draws && fits && !t->e->error->set; draw++) fits = at_draw(s, f, c, draw);
    return fits && s->at.seen && s->at.proved && !t->e->error->set;
}

/* ---- missing-factor --------------------------------------------------------------------------------------------- */

/* max(0, x) and the like: the operand that is a number; -1 if it is nothing of the kind. */
static int is_limit(const ac_node *node) {
    if (node->kind != AC_CALL || node->operand_count != 2) return -1;
    if (strcmp(node->function->name, "max") != 0 && strcmp(node->function->name, "min") != 0) return -1;
    bool first = node->operands[0]->kind == AC_NUMBER, second = node->operands[1]->kind == AC_NUMBER;
    return first == second ? -1 : first ? 0 : 1;
}

/* Steps whose operand can be recorded by itself: not within functions or equations, which have locals. */
static void find_steps(search *s, const ac_node *node, int depth) {
    bool power = node->kind == AC_POWER && node->operands[1]->kind == AC_NUMBER;
    bool call = node->kind == AC_CALL && node->function->elementwise != NULL;
    int constant = is_limit(node);
    if (power || call || constant >= 0 || (node->kind == AC_APPLY && node->operand_count == 1))
        add(s, (candidate){.step = node, .operand = constant == 0});
    if (node->kind == AC_SOLVE || depth > MOST_DEPTH || s->count == MOST || ++s->visits > MOST_VISITS) return;
    const ac_node *body = node->kind == AC_APPLY ? ac_body_of(s->t->e->file->arena, node) : NULL;
    if (body != NULL) find_steps(s, body, depth + 1);
    for (int i = 0; i < node->operand_count; i++)
        if (node->operands[i] != NULL) find_steps(s, node->operands[i], depth + 1);
}

/* The names that the claim rests on, its own included; then the others above it. */
static void find_names(search *s, bool others) {
    ac_evaluator *e = s->t->e;
    const ac_statement *statement = s->t->statement;
    ac_mark_needed(e, statement->uses, statement->use_count);
    for (int pass = 0; pass < 1 + others; pass++)
        for (int i = e->file->symbol_count - 1; i >= 0; i--) {
            ac_symbol *symbol = e->file->symbols[i];
            bool needed = e->needed[i] == e->stamp, above = symbol->span.start < statement->span.start;
            if (symbol->kind != AC_DEFINED && needed == (pass == 0) && above) add(s, (candidate){.name = symbol});
        }
}

/* d step / d operand, entry by entry. */
static ag_var local_derivative(search *s, const candidate *c) {
    ac_evaluator *e = s->t->e;
    const ac_node *step = c->step;
    ag_var x = ac_evaluate(e, step->operands[c->operand], s->t->statement->frame_size), d = x;
    if (e->error->set) return x;
    x = ac_own(e, ag_detach(x));
    ac_symbol local = {.kind = AC_LOCAL, .name = "", .index = 0};
    ac_node name = {.kind = AC_NAME, .span = step->span, .symbol = &local}, copy = *step;
    ac_node *operands[2] = {step->operands[0], step->operand_count > 1 ? step->operands[1] : NULL};
    operands[c->operand] = &name;
    if (!ac_set_local(e, x)) return x;
    copy.operands = operands;
    ag_var y = ac_evaluate(e, &copy, 1);
    if (e->error->set) return x;
    if (!nn_same_shape(ag_shape_of(x), ag_shape_of(y)) || ag_is_constant(y)) {
        ac_fail(e->error, step->span, "not a step from entry to entry");
        return x;
    }
    ag_gradient(ag_sum(y), &x, 1, &d);
    return d;
}

static double factor_at(const sight *at, int64_t i) {
    int64_t columns = at->claim.right_shape.dim[1];
    if (at->shape.rank == 0) return *at->value;
    return at->value[at->how == WHOLE ? i : at->how == DOWN_THE_ROWS ? i / columns : i % columns];
}

/* The greatest of the right numbers at this draw, where it matters: among printed ones. */
static double size_of_right(const sight *at) {
    const nn_claim *c = &at->claim;
    int64_t n = nn_shape_count(c->right_shape);
    double size = 0;
    for (int64_t i = 0; i < n && c->unit != NULL; i++) size = fmax(size, fabs(c->right[i]));
    return size;
}

/* claimed * q = right at entry k, and not for want of precision: at some entry it would not do without q. */
static bool fits_entry(sight *at, int64_t i, double q, double size) {
    const nn_claim *c = &at->claim;
    double slack = nn_claim_slack(c, i, c->right[i], size);
    if (!nn_is_within(c->claimed[i] * q, c->right[i], fabs(q) > 1 ? slack * fabs(q) : slack)) return false;
    at->seen = at->seen || !nn_is_within(c->claimed[i], c->right[i], slack);
    at->proved = at->proved || c->right[i] != 0;
    return true;
}

static bool fits_with(sight *at) {
    int64_t n = nn_shape_count(at->claim.right_shape);
    double size = size_of_right(at);
    for (int64_t i = 0; i < n; i++)
        if (!fits_entry(at, i, factor_at(at, i), size)) return false;
    return true;
}

/* By what is known of a name without recording it: most do not fit the first entry of the first draw. */
static bool is_ruled_out(search *s, const ac_symbol *name, double size) {
    const ac_glimpse *known = &s->t->e->glimpses[name->index];
    go_to(&s->at, s->t, 0);
    return known->known && s->t->right_count > 0 && !fits_entry(&s->at, 0, known->first, size);
}

static bool try_factor(search *s, const candidate *c, spread how) {
    ac_evaluator *e = s->t->e;
    ag_shape right = s->t->claim.right_shape;
    ac_symbol *name = c->name == NULL ? NULL : e->file->symbols[c->name->index];
    if (name != NULL && !ac_is_recorded(e, name)) s->prepared = -1; /* it is forgotten with what is tried */
    if (name != NULL && !ac_prepare(e, &name, 1, true)) return false;
    ag_var q = name != NULL ? e->values[name->index] : local_derivative(s, c);
    ag_shape shape = ag_shape_of(q);
    if (e->error->set) return false;
    bool fits = how == WHOLE
                    ? shape.rank == 0 || nn_same_shape(shape, right)
                    : right.rank == 2 && shape.rank == 1 && shape.dim[0] == right.dim[how == DOWN_THE_ROWS ? 0 : 1];
    if (!fits) return false;
    s->at.how = how;
    s->at.shape = shape;
    s->rounded = true;
    if (s->at.draw == 0) s->at.proved = false;
    return explains(s, q, fits_with);
}
static bool try_whole(search *s, const candidate *c) { return try_factor(s, c, WHOLE); }
static bool try_rows(search *s, const candidate *c) { return try_factor(s, c, DOWN_THE_ROWS); }
static bool try_columns(search *s, const candidate *c) { return try_factor(s, c, ALONG_THE_ROWS); }

/* "sigmoid'(z)", "the derivative of z^2". */
static void say_factor(search *s, const candidate *c) {
    char text[120];
    const ac_source *source = &s->t->e->file->source;
    if (c->name != NULL) snprintf(s->words, sizeof s->words, "%s", c->name->name);
    else if (c->step->operand_count > 1)
        snprintf(s->words, sizeof s->words, "the derivative of %s",
                 ac_text_of(source, c->step->span, text, sizeof text));
    else
        snprintf(s->words, sizeof s->words, "%s'(%s)",
                 c->step->kind == AC_CALL ? c->step->function->name : c->step->symbol->name,
                 ac_text_of(source, c->step->operands[c->operand]->span, text, sizeof text));
}

/* What a missing factor may be: names, and steps of what they and the left side are made of. */
static void find_factors(search *s) {
    s->count = s->visits = 0;
    find_names(s, true);
    int names = s->count;
    for (int i = 0; i < names && s->count < MOST && s->visits <= MOST_VISITS; i++)
        if (s->list[i].name->kind == AC_VALUE && ac_read_definition(s->list[i].name, NULL))
            find_steps(s, s->list[i].name->body, 0);
    find_steps(s, s->t->left, 0);
}

static bool find_missing_factor(search *s) {
    static const attempt tries[] = {try_whole, try_rows, try_columns};
    static const char *const how[] = {"", ", one to a row,", ", one to a column,"};
    find_factors(s);
    if (!same_shape(s->t)) return false;
    go_to(&s->at, s->t, 0);
    double size = size_of_right(&s->at);
    for (int i = 0; i < s->count; i++)
        for (int j = 0; j < 3; j++) {
            if (s->list[i].name != NULL && is_ruled_out(s, s->list[i].name, size)) break;
            if (!at_every_draw(s, tries[j], &s->list[i])) continue;
            say_factor(s, &s->list[i]);
            s->d->kind = NN_MISSING_FACTOR;
            snprintf(s->d->detail, sizeof s->d->detail, "a factor is missing: claimed times %s%s is the right one",
                     s->words, how[j]);
            return true;
        }
    return false;
}

/* ---- other-variable --------------------------------------------------------------------------------------------- */

/* The left side with a variant of its derivative; false if it has another shape than what is claimed. */
static bool record_variant(search *s, ac_variant variant, ag_var *x) {
    ac_evaluator *e = s->t->e;
    variant.derivative = s->derivative;
    e->variant = variant;
    e->derivative_is_zero = false;
    *x = ac_evaluate(e, s->t->left, s->t->statement->frame_size);
    memset(&e->variant, 0, sizeof e->variant);
    s->at.zero = e->derivative_is_zero;
    return !e->error->set && nn_same_shape(ag_shape_of(*x), s->t->claim.claimed_shape);
}

/* The greatest of the numbers that are finite; `enough` if one is that great. */
static double size_of(const double *x, int64_t n, double enough) {
    double size = 0;
    for (int64_t i = 0; i < n && size < enough; i++)
        if (isfinite(x[i]) && fabs(x[i]) > size) size = fabs(x[i]);
    return fmin(size, enough);
}

/* Is entry i of what is claimed no further off than 1e-9 of it, or this? */
static bool is_entry(const double *claimed, const double *value, int64_t i, double fixed) {
    double relative = NN_TOLERANCE * fabs(value[i]);
    return nn_is_within(claimed[i], value[i], relative > fixed ? relative : fixed);
}

static bool fits_printed(const nn_claim *c, const double *claimed, const double *value, int64_t n, double size) {
    for (int64_t i = 0; i < n; i++)
        if (!nn_is_within(claimed[i], value[i], fmax(fmax(c->unit[i], 0.01 * size), c->tolerance))) return false;
    return true;
}

static bool fits_all(const double *claimed, const double *value, int64_t n, double fixed) {
    for (int64_t i = 0; i < n; i++)
        if (i + NN_BLOCK <= n && nn_block_is_near(claimed + i, value + i, 1, fixed, NN_TOLERANCE)) i += NN_BLOCK - 1;
        else if (!is_entry(claimed, value, i, fixed)) return false;
    return true;
}

/* Is what is claimed this value? A 0 explains nothing. */
static bool fits_variant(sight *at) {
    const nn_claim *c = &at->claim;
    int64_t n = nn_shape_count(c->claimed_shape);
    const double *claimed = c->claimed, *value = at->value;
    bool printed = c->unit != NULL;
    if (!printed && n > 0 && !is_entry(claimed, value, 0, fmax(NN_TOLERANCE, c->tolerance))) return false; /* as most */
    double size = size_of(value, n, printed ? INFINITY : 1);
    if (printed ? !fits_printed(c, claimed, value, n, size)
                : !fits_all(claimed, value, n, fmax(NN_TOLERANCE * size, c->tolerance)))
        return false;
    at->seen = at->seen || (size > 0 && !at->zero);
    return true;
}

static bool try_variant(search *s, ac_variant variant) {
    ag_var x;
    return record_variant(s, variant, &x) && explains(s, x, fits_variant);
}

static bool try_other(search *s, const candidate *c) {
    return try_variant(s, (ac_variant){.other = s->t->e->file->symbols[c->name->index]});
}

static const ac_symbol *variable_of(const ac_node *derivative) {
    const ac_node *x = derivative->operands[1];
    while (x->kind == AC_INDEX) x = x->operands[0];
    return x->symbol;
}

static bool find_other_variable(search *s) {
    char text[AC_MAX_NAME + 1];
    s->count = s->visits = 0;
    find_names(s, false);
    for (int i = s->count - 1; i >= 0; i--) { /* leaves first: people differentiate by these */
        const candidate *c = &s->list[i];
        if (c->name == variable_of(s->derivative) && s->derivative->operands[1]->kind == AC_NAME) continue;
        if (c->name == s->derivative->operands[0]->symbol) continue; /* of f by f: 1, which explains nothing */
        if (!at_every_draw(s, try_other, c)) continue;
        s->d->kind = NN_OTHER_VARIABLE;
        snprintf(s->d->detail, sizeof s->d->detail, "it is the derivative by %s, not by %s", c->name->name,
                 ac_text_of(&s->t->e->file->source, s->derivative->operands[1]->span, text, sizeof text));
        return true;
    }
    return false;
}

/* ---- missing-term ----------------------------------------------------------------------------------------------- */

/* Where an expression stands within f: below these operations, which are linear in it. */
typedef struct above {
    const struct above *outer;
    ac_node *parent; /* NULL: a change of sign */
    int operand;
} above;

/* -inner. */
static ac_node *negated(search *s, ac_node *inner) {
    ac_node minus = {.kind = AC_NEGATE, .span = inner->span, .operand_count = 1, .operands = &inner};
    return ac_copy_with(s->t->e->file->arena, &minus, 0, inner);
}

static void add_term(search *s, ac_node *summand, const above *c) {
    ac_node *term = summand;
    for (; c != NULL && term != NULL; c = c->outer)
        term = c->parent == NULL ? negated(s, term) : ac_copy_with(s->t->e->file->arena, c->parent, c->operand, term);
    if (term != NULL) add(s, (candidate){.term = term, .span = summand->span});
}

static bool is_linear_call(const ac_node *node, int operand) {
    static const char *const names[] = {"sum", "mean", "trace", "transpose", "diag", "dot", "outer"};
    if (node->kind != AC_CALL || node->function->elementwise != NULL) return false;
    for (int i = 0; i < 7; i++)
        if (strcmp(node->function->name, names[i]) == 0) return i >= 5 || operand == 0;
    return false;
}

static bool is_linear(const ac_node *node, int operand) {
    switch (node->kind) {
    case AC_NEGATE:
    case AC_TRANSPOSE:
    case AC_MULTIPLY:
    case AC_MATMUL: return true;
    case AC_DIVIDE:
    case AC_INDEX: return operand == 0;
    default: return is_linear_call(node, operand);
    }
}

/* Summands of f, and theirs, however deep; names and functions are looked into, but for the name that is differentiated
 * by. */
static void find_terms(search *s, ac_node *node, const above *c, int depth) {
    if (depth > MOST_DEPTH || s->count == MOST || ++s->visits > MOST_VISITS) return;
    if (node->kind == AC_NAME && node->symbol->kind == AC_VALUE && node->symbol != variable_of(s->derivative) &&
        node->symbol->frame_size == 0 && ac_read_definition(node->symbol, NULL))
        find_terms(s, node->symbol->body, c, depth + 1);
    ac_node *body = node->kind == AC_APPLY ? ac_body_of(s->t->e->file->arena, node) : NULL;
    if (body != NULL) find_terms(s, body, c, depth + 1);
    for (int i = 0; i < node->operand_count; i++) {
        ac_node *inner = node->operands[i];
        above below = {c, node, i}, minus = {c, NULL, 0};
        bool sum = node->kind == AC_ADD || node->kind == AC_SUBTRACT;
        if (inner == NULL || (!sum && !is_linear(node, i))) continue;
        const above *inside = !sum ? &below : node->kind == AC_SUBTRACT && i == 1 ? &minus : c;
        find_terms(s, inner, inside, depth + 1); /* the smallest that explains it is the one to name */
        if (sum) add_term(s, inner, inside);
    }
}

/* Nothing may be left: then this term was all that there is to differentiate. */
static bool try_missing(search *s, const candidate *c) {
    bool fits = try_variant(s, (ac_variant){.term = c->term, .share = 1});
    s->at.seen = s->at.seen || fits;
    return fits;
}

/* ---- a factor of one term --------------------------------------------------------------------------------------- */

/* s->more: the left side without the term; s->at.value: with it c times. */
static bool fits_share(const void *context, double c) {
    search *s = (search *)(uintptr_t)context;
    const double *right = s->at.claim.right;
    for (int64_t i = 0; i < s->t->right_count; i++) s->at.value[i] = s->more[i] + c * (right[i] - s->more[i]);
    return fits_variant(&s->at);
}

/* The share of the term that is in what is claimed, if it is a known number; 0 if the term gives nothing at this draw. */
static bool find_share(search *s, const candidate *c) {
    const nn_claim *claim = &s->t->claim;
    const double *right = s->at.claim.right, *claimed = s->at.claim.claimed;
    int64_t greatest = 0;
    ag_var x;
    if (!record_variant(s, (ac_variant){.term = c->term, .share = 1}, &x)) return false;
    ag_read(x, s->more);
    if (!ac_is_fine(s->t->e, s->t->statement->span)) return false;
    for (int64_t i = 0; i < s->t->right_count; i++)
        if (fabs(right[i] - s->more[i]) > fabs(right[greatest] - s->more[greatest])) greatest = i;
    if (right[greatest] == s->more[greatest]) return true;
    double share = (claimed[greatest] - s->more[greatest]) / (right[greatest] - s->more[greatest]);
    return isfinite(share) && share != 0 &&
           nn_known_factor(claim, share, fits_share, s, &s->d->factor, s->words, sizeof s->words);
}

/* By the first draw at which it gives anything. */
static bool has_share(search *s, const candidate *c) {
    bool fits = true;
    s->d->factor = 0;
    s->at.seen = false;
    for (int draw = 0; draw < s->t->claim.draws && fits && s->d->factor == 0; draw++)
        fits = at_draw(s, find_share, c, draw);
    if (is_first(s) && fits && s->d->factor == 0) s->t->open = true;
    return fits && s->at.seen;
}

static bool try_share(search *s, const candidate *c) {
    return try_variant(s, (ac_variant){.term = c->term, .share = 1 - s->d->factor});
}

static bool find_term(search *s) {
    char text[120];
    const ac_source *source = &s->t->e->file->source;
    s->count = s->visits = 0;
    find_terms(s, s->derivative->operands[0], NULL, 0);
    for (int i = 0; i < s->count; i++) {
        if (!at_every_draw(s, try_missing, &s->list[i])) continue;
        s->d->kind = NN_MISSING_TERM;
        snprintf(s->d->detail, sizeof s->d->detail, "the derivative of the term %s is missing",
                 ac_text_of(source, s->list[i].span, text, sizeof text));
        return true;
    }
    for (int i = 0; i < s->count; i++) {
        bool fits = has_share(s, &s->list[i]) && at_every_draw(s, try_share, &s->list[i]);
        if (!fits) continue;
        ac_text_of(source, s->list[i].span, text, sizeof text);
        s->d->kind = NN_FACTOR;
        if (s->d->factor == -1)
            snprintf(s->d->detail, sizeof s->d->detail, "what the term %s gives has the wrong sign", text);
        else snprintf(s->d->detail, sizeof s->d->detail, "what the term %s gives has the factor %s", text, s->words);
        return true;
    }
    s->d->factor = 0;
    return false;
}

/* ---- a path that was passed over --------------------------------------------------------------------------------- */

/* What changes nothing explains nothing. */
static bool changes(const search *s) {
    size_t bytes = (size_t)s->t->right_count * sizeof *s->at.value;
    return !same_shape(s->t) || memcmp(s->at.value, s->at.claim.right, bytes) != 0;
}

/* Is the left side, recorded otherwise since this many slots were in use, what is claimed? */
static bool is_path(search *s, ag_var x, uint64_t before) {
    ac_evaluator *e = s->t->e;
    bool fits = !e->error->set && nn_same_shape(ag_shape_of(x), s->t->claim.claimed_shape);
    if (fits) ag_read(x, s->at.value);
    s->at.zero = e->derivative_is_zero;
    s->recorded += ag_tape_stats(e->tape).slots - before;
    bool seen = s->at.seen;
    fits = fits && ac_is_fine(e, s->t->statement->span) && fits_variant(&s->at);
    if (fits && !changes(s)) s->at.seen = seen;
    return fits;
}

/* With another derivative of a step, wherever it is: all is recorded anew. */
static bool try_path(search *s, ac_variant variant) {
    ac_evaluator *e = s->t->e;
    const ac_statement *statement = s->t->statement;
    ac_aside aside;
    bool fits = false;
    if (s->recorded > MOST_RECORDED || !ac_set_aside(e, &aside)) return false;
    uint64_t before = ag_tape_stats(e->tape).slots;
    e->variant = variant;
    e->derivative_is_zero = false;
    if (ac_prepare(e, statement->uses, statement->use_count, true))
        fits = is_path(s, ac_evaluate(e, s->t->left, statement->frame_size), before);
    memset(&e->variant, 0, sizeof e->variant);
    ac_bring_back(e, &aside);
    return fits;
}

/* With a name as a constant: what rests on it is. */
static bool try_constant_name(search *s, ac_symbol *name) {
    ac_evaluator *e = s->t->e;
    const ac_statement *statement = s->t->statement;
    if (s->recorded > MOST_RECORDED) return false;
    uint64_t before = ag_tape_stats(e->tape).slots;
    e->derivative_is_zero = false;
    ag_var x = ac_record_with(e, s->t->left, statement->uses, statement->use_count, statement->frame_size, name,
                              ag_detach(e->values[name->index]));
    return is_path(s, x, before);
}

/* 1 in place of a step's derivative, as a hand forgets it before a sum or a product is taken. */
static bool try_step(search *s, const candidate *c) {
    return try_path(s, (ac_variant){.step = c->step, .operand = c->operand});
}

static bool find_step(search *s) {
    find_factors(s);
    for (int i = 0; i < s->count; i++) {
        if (s->list[i].step == NULL || !at_every_draw(s, try_step, &s->list[i])) continue;
        say_factor(s, &s->list[i]);
        s->d->kind = NN_MISSING_FACTOR;
        snprintf(s->d->detail, sizeof s->d->detail, "a factor is missing: it is the right one with 1 in place of %s",
                 s->words);
        return true;
    }
    return false;
}

/* What varies taken as a constant, as half of a product rule is forgotten. */
static bool try_constant(search *s, const candidate *c) {
    return c->name != NULL ? try_constant_name(s, c->name) : try_path(s, (ac_variant){.step = c->step, .operand = -1});
}

/* Everything within an expression that may depend on something. */
static void find_parts(search *s, const ac_node *node, int depth) {
    if (node->kind == AC_SOLVE || depth > MOST_DEPTH || s->count == MOST || ++s->visits > MOST_VISITS) return;
    bool varies = node->kind != AC_NUMBER && node->kind != AC_ARRAY && !ac_is_derivative(node);
    if (varies && depth > 0) add(s, (candidate){.step = node});
    const ac_node *body = node->kind == AC_APPLY ? ac_body_of(s->t->e->file->arena, node) : NULL;
    if (body != NULL) find_parts(s, body, depth + 1);
    int count = ac_is_derivative(node) ? 1 : node->operand_count; /* the variable stays one */
    for (int i = 0; i < count; i++)
        if (node->operands[i] != NULL) find_parts(s, node->operands[i], depth + 1);
}

static bool find_constant(search *s) {
    char text[120];
    s->count = s->visits = 0;
    find_names(s, false);
    int names = s->count;
    for (int i = 0; i < names && s->count < MOST && s->visits <= MOST_VISITS; i++)
        if (s->list[i].name->kind == AC_VALUE && ac_read_definition(s->list[i].name, NULL))
            find_parts(s, s->list[i].name->body, 1);
    find_parts(s, s->t->left, 0);
    for (int i = 0; i < s->count; i++) {
        const candidate *c = &s->list[i];
        if (!at_every_draw(s, try_constant, c)) continue;
        const char *what =
            c->name != NULL ? c->name->name : ac_text_of(&s->t->e->file->source, c->step->span, text, sizeof text);
        const ac_node *f = s->derivative == NULL ? NULL : s->derivative->operands[0];
        bool whole = f != NULL && (c->step == f || (c->name != NULL && c->name == f->symbol));
        s->d->kind = NN_MISSING_TERM;
        if (whole) snprintf(s->d->detail, sizeof s->d->detail, "the derivative of %s is missing", what);
        else
            snprintf(s->d->detail, sizeof s->d->detail,
                     "a term is missing: it is the right one with %s taken as a constant", what);
        return true;
    }
    return false;
}

/* Printed to few digits, a single number is soon explained by something. */
static bool find_path(search *s) {
    if (!same_shape(s->t) || (s->t->claim.unit != NULL && s->t->right_count == 1)) return false;
    s->recorded = 0;
    return find_constant(s) || find_step(s);
}

bool ac_search(void *trial, nn_diagnosis *diagnosis) {
    ac_trial *t = trial;
    const ac_node *derivatives[2];
    bool found = false;
    search *s = nn_allocate(1, sizeof *s);
    int64_t count = t->right_count > t->claimed_count ? t->right_count : t->claimed_count;
    double *space = nn_allocate((size_t)count, 2 * sizeof *space);
    if (s == NULL || space == NULL) ac_fail(t->e->error, t->statement->span, "out of memory");
    else {
        s->t = t;
        s->d = diagnosis;
        s->start = ag_tape_mark(t->e->tape);
        s->prepared = -1;
        s->at.value = space;
        s->more = space + count;
        int derivative_count = ac_find_derivatives(t->left, derivatives, 2);
        found = find_missing_factor(s);
        if (!found && derivative_count == 1 && !t->e->error->set) {
            s->derivative = derivatives[0];
            found = find_other_variable(s) || (same_shape(t) && find_term(s));
        }
        if (!found && !t->e->error->set) found = find_path(s);
        ag_tape_rewind(t->e->tape, s->start);
    }
    nn_release(space);
    nn_release(s);
    return found;
}
