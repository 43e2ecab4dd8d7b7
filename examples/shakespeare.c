/* A small GPT that writes like Shakespeare, character by character: 4 blocks, width 128, 4 heads, 64 characters of context.
 *
 *     OPENBLAS_CORETYPE=SkylakeX shakespeare --data FOLDER     (README.md says where the variable helps) */
#include "text.h"

static const char *const help =
    "FOLDER holds tinyshakespeare.txt.gz (or name it so): "
    "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/\n"
    "tinyshakespeare/input.txt, plain or as gzip. Without it, a smaller model learns sentences that are made up.\n";

enum { MOST_BLOCKS = 4, SAMPLE = 400 };

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

static double fit(nn_model *model, nn_step *step, const sizes *s, const text_windows *text, nn_error *e) {
    int64_t steps = s->epochs * nn_loader_batches(text->train);
    nn_optimiser *adam = nn_adamw(model, (nn_adam_options){.decay = 0.1, .beta2 = 0.99});
    nn_optimiser_decay(adam, "*.bias", 0);
    nn_optimiser_decay(adam, "*ln_*", 0);
    nn_optimiser_clip_norm(adam, 1);
    nn_optimiser_schedule(adam, nn_with_warm_up(nn_cosine_schedule(s->rate, s->rate / 20, steps), steps / 50));
    nn_fitted fitted = nn_fit(&(nn_fit_options){.step = step,
                                                .optimiser = adam,
                                                .train = text->train,
                                                .validation = text->validation,
                                                .epochs = s->epochs,
                                                .progress = stdout,
                                                .curves = "shakespeare.svg"},
                              e);
    nn_optimiser_free(adam);
    return fitted.last.epoch == s->epochs ? fitted.last.validation_loss : NAN;
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

int main(int argc, char **argv) {
    const char *folder = data_folder(argc, argv, help);
    nn_error e = {0};
    sizes s = folder != NULL ? large : small;
    text_windows text;
    open_text(&text, folder != NULL ? path_in(folder, "tinyshakespeare.txt.gz") : NULL, s.context, s.every, s.batch,
              &e);
    ag_tape *tape = ag_tape_new(AG_F32);
    nn_model *model = nn_model_new(tape, 1);
    gpt g = make_gpt(model, s, text.characters.count);
    nn_step *step = nn_step_new(model, forward, &g, (nn_step_options){.outputs = 2, .traced = true});
    if (e.status == AG_OK)
        printf("%lld characters, %lld different ones; %lld weights\n", (long long)nn_array_count(&text.text),
               (long long)text.characters.count, (long long)nn_model_size(model));
    double loss = fit(model, step, &s, &text, &e);
    nn_model_train(model, false);
    write_sample(step, s.context, &text.characters, &e);

    if (!isnan(loss)) printf("validation loss %.3f; curves in shakespeare.svg\n", loss);
    int status = end_of_training(&e, loss, loss < s.expected);
    nn_step_free(step);
    nn_model_free(model);
    ag_tape_free(tape);
    close_text(&text);
    return status;
}
