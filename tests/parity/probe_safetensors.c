/* probe_safetensors.c - opens the paths on standard input. A line each: JSON of
 * {name: [dtype, shape, data in hexadecimal]}, or a JSON string, the message. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "tandem/memory.h"
#include "tandem/safetensors.h"

static const char *const dtypes[] = {"F64", "F32", "F16", "BF16", "I64", "I32", "I16", "I8", "U64", "U32", "U16", "U8", "BOOL"};

static void print_string(const char *text)
{
    tandem_buffer quoted = TANDEM_BUFFER_INIT;
    tandem_buffer_json_string(&quoted, text, strlen(text));
    fputs(quoted.data, stdout);
    tandem_buffer_free(&quoted);
}

static void print_tensor(const tandem_safetensor *tensor)
{
    print_string(tensor->name);
    printf(": [\"%s\", [", dtypes[tensor->dtype]);
    for (int i = 0; i < tensor->dims; i++) {
        printf("%s%" PRId64, i > 0 ? ", " : "", tensor->shape[i]);
    }
    printf("], \"");
    for (size_t i = 0; i < tensor->bytes; i++) {
        printf("%02x", tensor->data[i]);
    }
    printf("\"]");
}

static void print_file(const char *path)
{
    tandem_safetensors *file;
    if (tandem_safetensors_open(&file, path) < 0) {
        print_string(tandem_error_message());
        return;
    }
    printf("{");
    for (size_t i = 0; i < tandem_safetensors_count(file); i++) {
        printf("%s", i > 0 ? ", " : "");
        print_tensor(tandem_safetensors_at(file, i));
    }
    printf("}");
    tandem_safetensors_close(file);
}

int main(void)
{
    char path[4096];
    while (fgets(path, sizeof path, stdin) != NULL) {
        path[strcspn(path, "\n")] = '\0';
        print_file(path);
        printf("\n");
    }
    return 0;
}
