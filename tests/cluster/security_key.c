/* What ssh loads to reach a FIDO key (its sk-api.h). The key itself is a process of the test, at the
 * socket DEVICE: it gets a line for each request, and answers when it was touched.
 *     enroll                         -> the public key (Ed25519, 32 bytes)
 *     sign FLAGS APPLICATION DATA    -> the signature (64 bytes), with a counter of 1
 * All but FLAGS in hexadecimal.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define ED25519 1
#define GENERAL_ERROR -1
#define UNSUPPORTED -2
#define COUNTER 1

struct enrolled {
	uint8_t flags;
	uint8_t *public_key;
	size_t public_key_len;
	uint8_t *key_handle;
	size_t key_handle_len;
	uint8_t *signature;
	size_t signature_len;
	uint8_t *attestation_cert;
	size_t attestation_cert_len;
	uint8_t *authdata;
	size_t authdata_len;
};

struct signature {
	uint8_t flags;
	uint32_t counter;
	uint8_t *sig_r;
	size_t sig_r_len;
	uint8_t *sig_s;
	size_t sig_s_len;
};

static void
write_hex(FILE *to, const void *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++)
		fprintf(to, "%02x", ((const uint8_t *)bytes)[i]);
}

/* The device with an unfinished request, to be read from after its end. */
static FILE *
device(void)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	int file = socket(AF_UNIX, SOCK_STREAM, 0);

	strncpy(at.sun_path, DEVICE, sizeof(at.sun_path) - 1);
	if (file < 0 || connect(file, (struct sockaddr *)&at, sizeof(at)) != 0)
		return NULL;
	return fdopen(file, "r+");
}

/* `len` bytes of its answer; NULL without one. */
static uint8_t *
answer(FILE *from, size_t len)
{
	uint8_t *bytes = calloc(1, len);
	unsigned int value;

	fprintf(from, "\n");
	fflush(from);
	for (size_t i = 0; bytes != NULL && i < len; i++) {
		if (fscanf(from, "%2x", &value) != 1) {
			free(bytes);
			bytes = NULL;
			break;
		}
		bytes[i] = value;
	}
	fclose(from);
	return bytes;
}

uint32_t
sk_api_version(void)
{
	return VERSION;
}

int
sk_enroll(uint32_t alg, const uint8_t *challenge, size_t challenge_len, const char *application,
    uint8_t flags, const char *pin, void **options, struct enrolled **response)
{
	struct enrolled *found = calloc(1, sizeof(*found));
	FILE *at = device();

	if (alg != ED25519 || found == NULL || at == NULL)
		return UNSUPPORTED;
	fprintf(at, "enroll");
	found->flags = flags;
	found->public_key_len = 32;
	found->public_key = answer(at, found->public_key_len);
	found->key_handle_len = 4;
	found->key_handle = (uint8_t *)strdup("test");
	*response = found;
	return found->public_key == NULL ? GENERAL_ERROR : 0;
}

int
sk_sign(uint32_t alg, const uint8_t *data, size_t data_len, const char *application,
    const uint8_t *key_handle, size_t key_handle_len, uint8_t flags, const char *pin,
    void **options, struct signature **response)
{
	struct signature *found = calloc(1, sizeof(*found));
	FILE *at = device();

	if (alg != ED25519 || found == NULL || at == NULL)
		return UNSUPPORTED;
	fprintf(at, "sign %u ", flags);
	write_hex(at, application, strlen(application));
	fprintf(at, " ");
	write_hex(at, data, data_len);
	found->flags = flags;
	found->counter = COUNTER;
	found->sig_r_len = 64;
	found->sig_r = answer(at, found->sig_r_len);
	*response = found;
	return found->sig_r == NULL ? GENERAL_ERROR : 0;
}

int
sk_load_resident_keys(const char *pin, void **options, void ***keys, size_t *count)
{
	return UNSUPPORTED;
}
