// SPDX-License-Identifier: BSD-2-Clause
/*
 * What a peer sends the verbs provider as bytes: descriptors of exposed memory and
 * reasons of a refusal. Nothing malformed may pass.
 */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "exposure.h"
#include "refusal.h"

static const struct descriptor sample = {
	.address = 0x0000112233445566, .length = 0x100000, .key = 0xa1b2c3d4, .rights = MEM_READ,
};

START_TEST(descriptor_has_the_documented_layout)
{
	static const uint8_t wanted[DESCRIPTOR_LENGTH] = {
		0x66, 0x55, 0x44, 0x33, 0x22, 0x11, 0, 0, 0, 0, 0x10, 0, 0, 0, 0, 0,
		0xd4, 0xc3, 0xb2, 0xa1, 1, 0, 0x44, 0x53,
	};
	uint8_t bytes[DESCRIPTOR_LENGTH];

	descriptor_encode(&sample, bytes);
	ck_assert_mem_eq(bytes, wanted, sizeof(wanted));
	ck_assert_int_le(DESCRIPTOR_LENGTH, WSDIRECT_DESCRIPTOR_SIZE);
}
END_TEST

START_TEST(descriptor_comes_back)
{
	struct descriptor decoded;
	uint8_t bytes[DESCRIPTOR_LENGTH];

	descriptor_encode(&sample, bytes);
	ck_assert_int_eq(descriptor_decode(bytes, sizeof(bytes), &decoded), 0);
	ck_assert(decoded.address == sample.address && decoded.length == sample.length &&
		  decoded.key == sample.key && decoded.rights == sample.rights);
}
END_TEST

static int decoded(struct descriptor descriptor)
{
	uint8_t bytes[DESCRIPTOR_LENGTH];

	descriptor_encode(&descriptor, bytes);
	return descriptor_decode(bytes, sizeof(bytes), &descriptor);
}

START_TEST(descriptor_malformed_is_refused)
{
	struct descriptor descriptor = sample, unused;
	uint8_t bytes[DESCRIPTOR_LENGTH + 1] = { 0 };

	descriptor_encode(&sample, bytes);
	for (uint32_t length = 0; length <= sizeof(bytes); length++)
		ck_assert_int_eq(descriptor_decode(bytes, length, &unused),
				 length == DESCRIPTOR_LENGTH ? 0 : -EINVAL);
	ck_assert_int_eq(descriptor_decode(NULL, DESCRIPTOR_LENGTH, &unused), -EINVAL);
	bytes[22] ^= 1;
	ck_assert_int_eq(descriptor_decode(bytes, DESCRIPTOR_LENGTH, &unused), -EINVAL);

	descriptor.rights = 0;
	ck_assert_int_eq(decoded(descriptor), -EINVAL);
	descriptor.rights = 4;
	ck_assert_int_eq(decoded(descriptor), -EINVAL);
	descriptor = sample;
	descriptor.length = 0;
	ck_assert_int_eq(decoded(descriptor), -EINVAL);
	/* The end would wrap around. */
	descriptor.address = UINT64_MAX - 10;
	descriptor.length = 10;
	ck_assert_int_eq(decoded(descriptor), 0);
	descriptor.length = 11;
	ck_assert_int_eq(decoded(descriptor), -EINVAL);
	descriptor.length = UINT64_MAX;
	ck_assert_int_eq(decoded(descriptor), -EINVAL);
}
END_TEST

START_TEST(descriptor_random_bytes_never_wrap)
{
	uint8_t bytes[DESCRIPTOR_LENGTH];
	struct descriptor descriptor;

	srand(1);
	for (unsigned i = 0; i < 200000; i++) {
		for (unsigned j = 0; j < sizeof(bytes); j++)
			bytes[j] = (uint8_t)(rand() >> 4);
		if (i & 1) {
			bytes[20] = 1 + i % 3;
			bytes[21] = 0;
			bytes[22] = DESCRIPTOR_MAGIC & 0xff;
			bytes[23] = DESCRIPTOR_MAGIC >> 8;
		}
		if (descriptor_decode(bytes, sizeof(bytes), &descriptor))
			continue;
		ck_assert(descriptor.address + descriptor.length > descriptor.address);
		ck_assert(descriptor.rights >= 1 && descriptor.rights <= 3);
	}
}
END_TEST

START_TEST(refusal_says_whether_tcp_is_to_be_tried)
{
	uint8_t bytes[148] = { 0 };

	refusal_encode(REFUSAL_BACKLOG, bytes);
	ck_assert_int_eq(refusal_wsa_error(bytes, sizeof(bytes)), WSAECONNREFUSED);
	ck_assert_int_eq(refusal_wsa_error(bytes, REFUSAL_LENGTH), WSAECONNREFUSED);
	refusal_encode(REFUSAL_REJECTED, bytes);
	ck_assert_int_eq(refusal_wsa_error(bytes, sizeof(bytes)), WSAECONNREFUSED);
	refusal_encode(REFUSAL_DECLINED, bytes);
	ck_assert_int_eq(refusal_wsa_error(bytes, sizeof(bytes)), WSAETIMEDOUT);
	/* Nothing known: another program's, a later version's, the kernel's own. */
	bytes[4] = 77;
	ck_assert_int_eq(refusal_wsa_error(bytes, sizeof(bytes)), WSAETIMEDOUT);
	refusal_encode(REFUSAL_BACKLOG, bytes);
	ck_assert_int_eq(refusal_wsa_error(bytes, REFUSAL_LENGTH - 1), WSAETIMEDOUT);
	ck_assert_int_eq(refusal_wsa_error(bytes, 0), WSAETIMEDOUT);
	bytes[0] ^= 1;
	ck_assert_int_eq(refusal_wsa_error(bytes, sizeof(bytes)), WSAETIMEDOUT);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("descriptor");
	TCase *tests = tcase_create("descriptor");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_test(tests, descriptor_has_the_documented_layout);
	tcase_add_test(tests, descriptor_comes_back);
	tcase_add_test(tests, descriptor_malformed_is_refused);
	tcase_add_test(tests, descriptor_random_bytes_never_wrap);
	tcase_add_test(tests, refusal_says_whether_tcp_is_to_be_tried);
	suite_add_tcase(suite, tests);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
