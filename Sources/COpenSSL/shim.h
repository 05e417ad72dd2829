#pragma once
#define OPENSSL_API_COMPAT 30000
#define OPENSSL_NO_DEPRECATED 1
#include <errno.h>
#include <string.h>
#include <openssl/bio.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

// What Swift can't import: macros, variadic calls, generic stacks and parameter lists.

static inline int copenssl_errno(void) { return errno; }
static inline void copenssl_clear_errno(void) { errno = 0; }

// --- Errors ---

static inline int copenssl_error_library(unsigned long code) { return ERR_GET_LIB(code); }
static inline int copenssl_error_reason(unsigned long code) { return ERR_GET_REASON(code); }

// --- Keys ---

static inline EVP_PKEY *copenssl_generate_p256(void) { return EVP_EC_gen("P-256"); }

// A password callback that has none: an encrypted file is an error, never a prompt on a terminal.
static inline int copenssl_no_password(char *buffer, int size, int writing, void *context) {
  (void)buffer, (void)size, (void)writing, (void)context;
  return -1;
}
static inline EVP_PKEY *copenssl_read_private_key(BIO *bio) {
  return PEM_read_bio_PrivateKey(bio, NULL, copenssl_no_password, NULL);
}
static inline X509 *copenssl_read_certificate(BIO *bio) {
  return PEM_read_bio_X509(bio, NULL, copenssl_no_password, NULL);
}
static inline X509_REQ *copenssl_read_request(BIO *bio) {
  return PEM_read_bio_X509_REQ(bio, NULL, copenssl_no_password, NULL);
}

// --- Key derivation (RFC 5869) ---

// mode is EVP_KDF_HKDF_MODE_EXTRACT_ONLY or EVP_KDF_HKDF_MODE_EXPAND_ONLY.
static inline int copenssl_hkdf(EVP_KDF *kdf, int mode, const void *key, size_t key_size, const void *salt,
                                size_t salt_size, const void *info, size_t info_size, void *out,
                                size_t out_size) {
  EVP_KDF_CTX *context = EVP_KDF_CTX_new(kdf);
  if (context == NULL) return 0;
  OSSL_PARAM params[6];
  OSSL_PARAM *next = params;
  *next++ = OSSL_PARAM_construct_int(OSSL_KDF_PARAM_MODE, &mode);
  *next++ = OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, (char *)"SHA256", 0);
  *next++ = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, key_size > 0 ? (void *)key : (void *)"", key_size);
  if (salt_size > 0) *next++ = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SALT, (void *)salt, salt_size);
  if (info_size > 0) *next++ = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, (void *)info, info_size);
  *next = OSSL_PARAM_construct_end();
  int ok = EVP_KDF_derive(context, (unsigned char *)out, out_size, params) > 0;
  EVP_KDF_CTX_free(context);
  return ok;
}

static inline int copenssl_hkdf_extract_mode(void) { return EVP_KDF_HKDF_MODE_EXTRACT_ONLY; }
static inline int copenssl_hkdf_expand_mode(void) { return EVP_KDF_HKDF_MODE_EXPAND_ONLY; }

// --- AEAD ---

static inline int copenssl_take_tag(EVP_CIPHER_CTX *context, void *tag) {
  return EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, 16, tag) == 1;
}
static inline int copenssl_expect_tag(EVP_CIPHER_CTX *context, const void *tag) {
  return EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, 16, (void *)tag) == 1;
}

// --- Memory BIOs ---

static inline size_t copenssl_bio_data(BIO *bio, const unsigned char **data) {
  char *start = NULL;
  long size = BIO_get_mem_data(bio, &start);
  *data = (const unsigned char *)start;
  return size > 0 ? (size_t)size : 0;
}
// An empty incoming BIO means "not yet" until the end of the stream was told.
static inline void copenssl_bio_open_ended(BIO *bio) { BIO_set_mem_eof_return(bio, -1); }
static inline void copenssl_bio_ended(BIO *bio) { BIO_set_mem_eof_return(bio, 0); }

// --- Certificates ---

static inline int copenssl_add_general_name(GENERAL_NAMES *names, int type, const void *bytes, int size) {
  GENERAL_NAME *name = GENERAL_NAME_new();
  ASN1_STRING *text = type == GEN_DNS ? ASN1_IA5STRING_new() : ASN1_OCTET_STRING_new();
  if (name == NULL || text == NULL || !ASN1_STRING_set(text, bytes, size)) {
    GENERAL_NAME_free(name);
    ASN1_STRING_free(text);
    return 0;
  }
  GENERAL_NAME_set0_value(name, type, text);
  if (sk_GENERAL_NAME_push(names, name) <= 0) {
    GENERAL_NAME_free(name);
    return 0;
  }
  return 1;
}
static inline GENERAL_NAMES *copenssl_new_general_names(void) { return sk_GENERAL_NAME_new_null(); }
static inline int copenssl_name_type_dns(void) { return GEN_DNS; }
static inline int copenssl_name_type_ip(void) { return GEN_IPADD; }

static inline int copenssl_add_extension(X509 *certificate, X509 *issuer, int nid, const char *value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, certificate, NULL, NULL, 0);
  X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
  if (extension == NULL) return 0;
  int ok = X509_add_ext(certificate, extension, -1);
  X509_EXTENSION_free(extension);
  return ok;
}

static inline int copenssl_utf8_text(void) { return MBSTRING_UTF8; }

// Seconds since 1970; 0 if the time can't be read.
static inline long long copenssl_unix_seconds(const ASN1_TIME *time) {
  ASN1_TIME *epoch = ASN1_TIME_set(NULL, 0);
  int days = 0, seconds = 0;
  int ok = epoch != NULL && ASN1_TIME_diff(&days, &seconds, epoch, time);
  ASN1_TIME_free(epoch);
  return ok ? (long long)days * 86400 + seconds : 0;
}

// The first entry of that kind as UTF-8, to be freed with OPENSSL_free; NULL if there is none.
static inline unsigned char *copenssl_name_entry(const X509_NAME *name, int nid, int *size) {
  int index = X509_NAME_get_index_by_NID(name, nid, -1);
  if (index < 0) return NULL;
  unsigned char *text = NULL;
  *size = ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, index)));
  return *size < 0 ? NULL : text;
}

static inline void copenssl_free(void *memory) { OPENSSL_free(memory); }
// From the secure heap, if there is one (OPENSSL_secure_malloc(3)).
static inline void *copenssl_allocate(size_t size) { return OPENSSL_secure_zalloc(size); }
static inline void copenssl_clear_free(void *memory, size_t size) { OPENSSL_secure_clear_free(memory, size); }

// --- TLS ---

// Protocol names that a server accepts, in wire format (RFC 7301 section 3.1), its preference first.
typedef struct {
  unsigned int size;
  unsigned char names[256];
} copenssl_alpn_names;

static inline int copenssl_select_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_size,
                                       const unsigned char *offered, unsigned int offered_size, void *context) {
  const copenssl_alpn_names *own = (const copenssl_alpn_names *)context;
  if (SSL_select_next_proto((unsigned char **)out, out_size, own->names, own->size, offered, offered_size) ==
      OPENSSL_NPN_NEGOTIATED)
    return SSL_TLSEXT_ERR_OK;
  // What was offered in vain says who is older. Kept with the connection, which is over: copenssl_forget_offered.
  copenssl_alpn_names *kept = (copenssl_alpn_names *)OPENSSL_zalloc(sizeof *kept);
  if (kept != NULL) {
    kept->size = offered_size < sizeof kept->names ? offered_size : sizeof kept->names;
    memcpy(kept->names, offered, kept->size);
    OPENSSL_free(SSL_get_app_data(ssl));
    if (!SSL_set_app_data(ssl, kept)) OPENSSL_free(kept);
  }
  return SSL_TLSEXT_ERR_ALERT_FATAL;
}
static inline const copenssl_alpn_names *copenssl_offered(SSL *ssl) {
  return (const copenssl_alpn_names *)SSL_get_app_data(ssl);
}
static inline void copenssl_forget_offered(SSL *ssl) {
  OPENSSL_free(SSL_get_app_data(ssl));
  SSL_set_app_data(ssl, NULL);
}

// Accepts every certificate: who the peer is, is decided afterwards by the hash of its key. That it holds the
// key is proven by CertificateVerify (RFC 8446 section 4.4.3), which is checked all the same.
static inline int copenssl_accept_certificate(X509_STORE_CTX *store, void *context) {
  (void)context;
  X509_STORE_CTX_set_error(store, X509_V_OK);
  return 1;
}

static inline int copenssl_configure(SSL_CTX *context, int minimum, int maximum) {
  SSL_CTX_set_options(context, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_TICKET |
                                   SSL_OP_CIPHER_SERVER_PREFERENCE);
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_read_ahead(context, 0);
  SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                                SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_AUTO_RETRY);
  return SSL_CTX_set_num_tickets(context, 0) && SSL_CTX_set_min_proto_version(context, minimum) &&
         SSL_CTX_set_max_proto_version(context, maximum) &&
         SSL_CTX_set_cipher_list(context, "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384") &&
         SSL_CTX_set_ciphersuites(
             context, "TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256") &&
         SSL_CTX_set1_groups_list(context, "X25519:P-256:P-384");
}

static inline void copenssl_verify_peer(SSL_CTX *context, int required) {
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER | (required ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0), NULL);
  SSL_CTX_set_cert_verify_callback(context, copenssl_accept_certificate, NULL);
}
static inline void copenssl_verify_nobody(SSL_CTX *context) { SSL_CTX_set_verify(context, SSL_VERIFY_NONE, NULL); }

static inline void copenssl_serve_alpn(SSL_CTX *context, copenssl_alpn_names *names) {
  SSL_CTX_set_alpn_select_cb(context, copenssl_select_alpn, names);
}
static inline int copenssl_add_chain_certificate(SSL_CTX *context, X509 *certificate) {
  return SSL_CTX_add1_chain_cert(context, certificate) > 0;
}
static inline int copenssl_set_server_name(SSL *ssl, const char *name) {
  return SSL_set_tlsext_host_name(ssl, name) > 0;
}
