/* A model's weights and buffers, written and read. */
#include "nn/keep/keep_impl.h"

#include <string.h>

void nn_model_save(const nn_model *model, const char *path, nn_error *e) {
    nn_places places = {.count = 0};
    if (!nn_given(path, "the path of a file to be written", e)) return;
    nn_places_of_model(&places, model, e);
    if (nn_ok(e)) nn_places_write(&places, path, false, e);
    nn_places_free(&places);
}

/* By its sum, or by a name that only checkpoints have: then the sum's own name may be damaged. */
static bool is_checkpoint(const nn_safetensors *file) {
    bool found = nn_safetensors_metadata(file, NN_CHECKPOINT_KEY) != NULL;
    for (int64_t i = 0; i < file->count && !found; i++)
        found = strncmp(file->tensors[i].name, NN_CHECKPOINT_PREFIX, sizeof NN_CHECKPOINT_PREFIX - 1) == 0;
    return found;
}

int64_t nn_model_load_from(nn_model *model, const nn_safetensors *file, const char *path, nn_load_options options,
                           nn_error *e) {
    nn_places places = {.count = 0};
    bool checkpoint = nn_ok(e) && is_checkpoint(file);
    if (checkpoint) nn_check_sum(file, path, e);
    nn_matching m = {path, "the model", .ignore = checkpoint ? NN_CHECKPOINT_PREFIX : NULL, .options = options};
    nn_places_of_model(&places, model, e);
    nn_places_match(&places, file, &m, e);
    int64_t taken = nn_ok(e) ? nn_places_take(&places) : 0;
    nn_places_free(&places);
    return taken;
}

int64_t nn_model_load(nn_model *model, const char *path, nn_load_options options, nn_error *e) {
    if (options.renaming_count > 0) (void)nn_given(options.renamings, "load: the array of renamings", e);
    for (int i = 0; nn_ok(e) && i < options.renaming_count; i++) {
        (void)nn_given(options.renamings[i].file, "load: a renaming's prefix in the file", e);
        (void)nn_given(options.renamings[i].model, "load: a renaming's prefix in the model", e);
    }
    if (!nn_ok(e)) return 0;
    nn_safetensors file = nn_safetensors_open(path, e);
    int64_t taken = nn_model_load_from(model, &file, path, options, e);
    nn_safetensors_close(&file);
    return taken;
}
