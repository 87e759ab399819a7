/*
 * libtinyrun.so as an addon of Node: `bind(name)` gives a function that calls the exported C function of that name with whole
 * numbers, strings and typed arrays, and returns its int. To load a general FFI for our own calls would take each command 1 ms more.
 * The Node-API is declared here, as far as it is used: its binary interface is the same in all versions, and so no headers
 * are needed to build.
 */
#define _GNU_SOURCE 1
#include <dlfcn.h>
#include <stdint.h>
#include <string.h>

#include "receive.h"

#define ARGUMENTS_MAX 6
/* Of all strings of one call; a path is no longer than 4096. */
#define TEXT_MAX 32768

typedef struct napi_env__ *napi_env;
typedef struct napi_value__ *napi_value;
typedef struct napi_callback_info__ *napi_callback_info;
typedef napi_value (*napi_callback)(napi_env, napi_callback_info);

enum napi_valuetype { NAPI_UNDEFINED, NAPI_NULL, NAPI_BOOLEAN, NAPI_NUMBER, NAPI_STRING, NAPI_SYMBOL, NAPI_OBJECT };

/* Weak: a process without them can load us, too. */
#define NODE extern __attribute__((weak)) int
NODE napi_get_cb_info(napi_env, napi_callback_info, size_t *, napi_value *, napi_value *, void **);
NODE napi_typeof(napi_env, napi_value, int *);
NODE napi_get_value_int64(napi_env, napi_value, int64_t *);
NODE napi_get_value_string_utf8(napi_env, napi_value, char *, size_t, size_t *);
NODE napi_get_typedarray_info(napi_env, napi_value, int *, size_t *, void **, napi_value *, size_t *);
NODE napi_create_int32(napi_env, int32_t, napi_value *);
NODE napi_create_function(napi_env, const char *, size_t, napi_callback, void *, napi_value *);
NODE napi_set_named_property(napi_env, napi_value, const char *, napi_value);
NODE napi_throw_type_error(napi_env, const char *, const char *);

EXPORT napi_value napi_register_module_v1(napi_env env, napi_value exports);

static napi_value wrong(napi_env env, const char *what) {
    napi_throw_type_error(env, NULL, what);
    return NULL;
}

/* One argument as the register that the C function finds it in; 0: it is nothing that can be passed. */
static int convert(napi_env env, napi_value value, char **text, const char *end, int64_t *out) {
    int type;
    void *data = NULL;
    size_t length;
    if (napi_typeof(env, value, &type) != 0) return 0;
    switch (type) {
    case NAPI_UNDEFINED:
    case NAPI_NULL:
        *out = 0;
        return 1;
    case NAPI_NUMBER:
        return napi_get_value_int64(env, value, out) == 0;
    case NAPI_STRING:
        /* Cut short where there is no room for it: so that is looked for. */
        if (napi_get_value_string_utf8(env, value, *text, (size_t)(end - *text), &length) != 0) return 0;
        if (length + 8 >= (size_t)(end - *text)) return 0;
        *out = (int64_t)(intptr_t)*text;
        *text += length + 1;
        return 1;
    case NAPI_OBJECT:
        if (napi_get_typedarray_info(env, value, NULL, NULL, &data, NULL, NULL) != 0) return 0;
        *out = (int64_t)(intptr_t)data;
        return 1;
    default:
        return 0;
    }
}

/* All parameters are integers or pointers, which the calling conventions of both architectures pass alike, whatever their width. */
static napi_value call(napi_env env, napi_callback_info info) {
    char texts[TEXT_MAX], *text = texts;
    napi_value values[ARGUMENTS_MAX], result;
    size_t count = ARGUMENTS_MAX;
    int64_t a[ARGUMENTS_MAX] = {0};
    void *function;
    if (napi_get_cb_info(env, info, &count, values, NULL, &function) != 0) return wrong(env, "Cannot call native code");
    if (count > ARGUMENTS_MAX) return wrong(env, "Cannot call native code with so many arguments");
    for (size_t at = 0; at < count; at++)
        if (!convert(env, values[at], &text, texts + sizeof texts, &a[at]))
            return wrong(env, "Cannot call native code with such an argument");
    int (*target)(int64_t, int64_t, int64_t, int64_t, int64_t, int64_t);
    memcpy(&target, &function, sizeof target);
    int returned = target(a[0], a[1], a[2], a[3], a[4], a[5]);
    return napi_create_int32(env, returned, &result) == 0 ? result : NULL;
}

static napi_value bind(napi_env env, napi_callback_info info) {
    char name[64];
    napi_value value, function;
    size_t count = 1, length;
    Dl_info own;
    if (napi_get_cb_info(env, info, &count, &value, NULL, NULL) != 0 || count != 1 ||
        napi_get_value_string_utf8(env, value, name, sizeof name, &length) != 0 || strncmp(name, "tinyrun_", 8) != 0)
        return wrong(env, "Cannot bind native code without its name");
    void *self = dladdr((void *)(uintptr_t)bind, &own) == 0 ? NULL : dlopen(own.dli_fname, RTLD_LAZY | RTLD_NOLOAD);
    void *found = self == NULL ? NULL : dlsym(self, name);
    /* Loaded as long as the process lives: by Node. */
    if (self != NULL) dlclose(self);
    if (found == NULL) return wrong(env, "Cannot find the native code");
    return napi_create_function(env, name, length, call, found, &function) == 0 ? function : NULL;
}

napi_value napi_register_module_v1(napi_env env, napi_value exports) {
    napi_value function;
    if (napi_create_function(env, "bind", 4, bind, NULL, &function) == 0)
        napi_set_named_property(env, exports, "bind", function);
    return exports;
}
