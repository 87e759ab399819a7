/* SHA-256 with the processor's instructions where it has them: libcrypto's low-level functions choose at run time. The
   EVP interface would pull providers, configuration files and a megabyte into a static binary that is to touch nothing. */
#ifndef TR_SHA256_H
#define TR_SHA256_H

#define OPENSSL_SUPPRESS_DEPRECATED
#include <openssl/sha.h>

struct sha256 {
    SHA256_CTX context;
};

static inline void sha256_init(struct sha256 *hash) {
    SHA256_Init(&hash->context);
}

static inline void sha256_update(struct sha256 *hash, const void *data, size_t length) {
    SHA256_Update(&hash->context, data, length);
}

static inline void sha256_hex(struct sha256 *hash, char hex[65]) {
    static const char DIGITS[] = "0123456789abcdef";
    unsigned char digest[SHA256_DIGEST_LENGTH];
    SHA256_Final(digest, &hash->context);
    for (int i = 0; i < SHA256_DIGEST_LENGTH; i++) {
        hex[2 * i] = DIGITS[digest[i] >> 4];
        hex[2 * i + 1] = DIGITS[digest[i] & 15];
    }
    hex[64] = 0;
}

#endif
