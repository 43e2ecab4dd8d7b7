/* A small GPT that writes like Shakespeare, character by character: 4 blocks, width 128, 4 heads, 64 characters of context.
 *
 *     OPENBLAS_CORETYPE=SkylakeX shakespeare --data FOLDER     (README.md says where the variable helps) */
#include "common.h"

static const char *const help =
    "FOLDER holds tinyshakespeare.txt.gz (or name it so): "
    "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/\n"
    "tinyshakespeare/input.txt, plain or as gzip. Without it, a smaller model learns sentences that are made up.\n";

enum { MOST_BLOCKS = 4, SENTENCES = 1500, SAMPLE = 400 };

typedef struct sizes {
    int64_t blocks, width, heads, context, batch, every /* characters from a stretch to the next */, epochs;
    double rate, expected;
} sizes;
static const sizes large = {4, 128, 4, 64, 16, 32, 2, 2e-3, 1.75}, small = {1, 32, 2, 24, 32, 8, 1, 1e-2, 0.3};

typedef struct gpt {
    sizes size;
    nn_embedding tokens;
    ag_var positions;
    nn_block blocks[MOST_BLOCKS];
    nn_layer_norm norm;
    nn_dense head;
} gpt;

static gpt make_gpt(nn_model *model, sizes s, int64_t characters) {
    gpt g = {.size = s};
    g.tokens = nn_embedding_init(model, "wte", characters, s.width, (nn_embedding_options){.gain = 0.02});
    g.positions = nn_parameter_with(model, "wpe.weight", AG_SHAPE(s.context, s.width), NN_GAUSSIAN, 0.02);
    for (int i = 0; i < s.blocks; i++) {
        char name[16];
        snprintf(name, sizeof name, "h.%d", i);
        g.blocks[i] =
            nn_block_init(model, name, s.width, s.heads, (nn_block_options){.initial = NN_GAUSSIAN, .gain = 0.02});
    }
    g.norm = nn_layer_norm_init(model, "ln_f", s.width, (nn_norm_options){0});
    g.head = nn_dense_init(model, "lm_head", s.width, characters, (nn_dense_options){.no_bias = true});
    return g;
}

/* Fields: characters (n, context) and the ones after them. Outputs: the loss, logits (n, context, characters). */
static void forward(void *context, const ag_var *batch, ag_var *out) {
    const gpt *g = context;
    ag_var x = ag_add(nn_embedding_at(g->tokens, batch[0]), g->positions);
    for (int i = 0; i < g->size.blocks; i++) x = nn_block_apply(&g->blocks[i], x, ag_num(0));
    out[1] = nn_dense_apply(g->head, nn_layer_norm_apply(g->norm, x));
    out[0] = nn_softmax_cross_entropy_at(out[1], batch[1], (nn_class_options){0});
}

static double fit(nn_model *model, nn_step *step, const sizes *s, nn_loader *train, nn_loader *validation,
                  nn_error *e) {
    int64_t steps = s->epochs * nn_loader_batches(train);
    nn_optimiser *adam = nn_adamw(model, (nn_adam_options){.decay = 0.1, .beta2 = 0.99});
    nn_optimiser_decay(adam, "*.bias", 0);
    nn_optimiser_decay(adam, "*ln_*", 0);
    nn_optimiser_clip_norm(adam, 1);
    nn_optimiser_schedule(adam, nn_with_warm_up(nn_cosine_schedule(s->rate, s->rate / 20, steps), steps / 50));
    nn_fitted fitted = nn_fit(&(nn_fit_options){.step = step,
                                                .optimiser = adam,
                                                .train = train,
                                                .validation = validation,
                                                .epochs = s->epochs,
                                                .progress = stdout,
                                                .curves = "shakespeare.svg"},
                              e);
    nn_optimiser_free(adam);
    return fitted.last.epoch == s->epochs ? fitted.last.validation_loss : NAN;
}

/* A character by its probability, of logits divided by a temperature. */
static int draw_character(const float *logits, int64_t n, double temperature, uint64_t *state) {
    double sum = 0, most = logits[0];
    for (int i = 0; i < n; i++) most = fmax(most, logits[i]);
    for (int i = 0; i < n; i++) sum += exp((logits[i] - most) / temperature);
    double left = uniform(state) * sum;
    for (int i = 0; i < n; i++)
        if ((left -= exp((logits[i] - most) / temperature)) < 0) return i;
    return (int)n - 1;
}

/* Prints what the model writes after a line's end. */
static void write_sample(nn_step *step, int64_t context, const nn_vocabulary *v, nn_error *e) {
    uint64_t state = 1;
    nn_array window = nn_array_new(NN_I32, AG_SHAPE(1, context), e), newline = nn_encode(v, "\n", 1, e);
    int32_t *codes = window.data;
    if (e->status == AG_OK) codes[0] = *(int32_t *)newline.data;
    for (int64_t i = 0, last = 0; i < SAMPLE && e->status == AG_OK; i++) {
        nn_step_run(step, (const nn_array[]){window, window}, 2, NN_VALUES);
        const float *logits = nn_step_output(step, 1)->data;
        if (logits == NULL) break;
        int next = draw_character(logits + last * v->count, v->count, 0.8, &state);
        char text[5] = "";
        nn_decode(v, next, text);
        fputs(text, stdout);
        if (last + 1 < context) last++;
        else memmove(codes, codes + 1, (size_t)last * sizeof *codes);
        codes[last] = next;
    }
    putchar('\n');
    nn_array_free(&newline);
    nn_array_free(&window);
}

/* Sentences of seven words, of which four are drawn from four: log(4) * 4 nats for some 30 characters. */
static nn_array invent(nn_error *e) {
    static const char *const words[4][4] = {{"old", "brave", "sleepy", "golden"},
                                            {"king", "owl", "sailor", "moon"},
                                            {"sees", "follows", "forgets", "sings to"},
                                            {"river", "queen", "dog", "stars"}};
    nn_array text = nn_array_new(NN_U8, AG_SHAPE(SENTENCES * 48), e);
    uint64_t state = 1;
    int64_t length = 0;
    for (int i = 0; i < SENTENCES && e->status == AG_OK; i++) {
        const char *word[4];
        for (int k = 0; k < 4; k++) word[k] = words[k][(int)(4 * uniform(&state))];
        length +=
            snprintf((char *)text.data + length, 48, "the %s %s %s the %s.\n", word[0], word[1], word[2], word[3]);
    }
    text.shape.dim[0] = length;
    return text;
}

int main(int argc, char **argv) {
    const char *folder = data_folder(argc, argv, help);
    nn_error e = {0};
    sizes s = folder != NULL ? large : small;
    nn_array text = folder != NULL ? nn_text_read(path_in(folder, "tinyshakespeare.txt.gz"), &e) : invent(&e);
    size_t bytes = (size_t)nn_array_count(&text), first = bytes * 9 / 10; /* the rest is for validation */
    nn_vocabulary characters = nn_vocabulary_of(text.data, bytes, &e);
    nn_array train = nn_encode(&characters, text.data, first, &e);
    nn_array rest = nn_encode(&characters, (const char *)text.data + first, bytes - first, &e);
    nn_dataset train_set = nn_dataset_windows(&train, s.context, s.every, &e);
    nn_dataset rest_set = nn_dataset_windows(&rest, s.context, s.context, &e);
    nn_loader_options options = {.batch = s.batch, .shuffle = true, .drop_last = true, .seed = 1};
    nn_loader *train_batches = nn_loader_new(&train_set, &options, &e);
    nn_loader *rest_batches = nn_loader_new(&rest_set, &(nn_loader_options){.batch = s.batch}, &e);

    ag_tape *tape = ag_tape_new(AG_F32);
    nn_model *model = nn_model_new(tape, 1);
    gpt g = make_gpt(model, s, characters.count);
    nn_step *step = nn_step_new(model, forward, &g, (nn_step_options){.outputs = 2, .traced = true});
    if (e.status == AG_OK)
        printf("%zu characters, %lld different ones; %lld weights\n", bytes, (long long)characters.count,
               (long long)nn_model_size(model));
    double loss = fit(model, step, &s, train_batches, rest_batches, &e);
    nn_model_train(model, false);
    write_sample(step, s.context, &characters, &e);

    if (e.status == AG_OK) printf("validation loss %.3f; curves in shakespeare.svg\n", loss);
    int status = end(&e, loss < s.expected);
    nn_step_free(step);
    nn_model_free(model);
    ag_tape_free(tape);
    nn_loader_free(train_batches);
    nn_loader_free(rest_batches);
    nn_dataset_free(&train_set);
    nn_dataset_free(&rest_set);
    nn_array_free(&train);
    nn_array_free(&rest);
    nn_array_free(&text);
    nn_vocabulary_free(&characters);
    return status;
}
