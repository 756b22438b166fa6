// SPDX-License-Identifier: BSD-2-Clause
/* Winsock error codes: Windows' numbers, and their errno. */
#include <check.h>
#include <errno.h>
#include <string.h>

#include <wsdirect/ws2san.h>

#include "wsa_errno.h"

START_TEST(codes_have_the_numbers_of_windows)
{
	ck_assert_int_eq(WSA_OPERATION_ABORTED, 995);
	ck_assert_int_eq(WSA_IO_INCOMPLETE, 996);
	ck_assert_int_eq(WSA_IO_PENDING, 997);
	ck_assert_int_eq(WSAEWOULDBLOCK, 10035);
	ck_assert_int_eq(WSAEOPNOTSUPP, 10045);
	ck_assert_int_eq(WSAENETDOWN, 10050);
	ck_assert_int_eq(WSAECONNRESET, 10054);
	ck_assert_int_eq(WSAENOBUFS, 10055);
	ck_assert_int_eq(WSAETIMEDOUT, 10060);
	ck_assert_int_eq(WSAECONNREFUSED, 10061);
	ck_assert_int_eq(WSAEHOSTUNREACH, 10065);
	ck_assert_int_eq(WSANOTINITIALISED, 10093);
	ck_assert_uint_eq(SIO_GET_EXTENSION_FUNCTION_POINTER, 0xC8000006u);
	ck_assert_uint_eq(SIO_ADDRESS_LIST_QUERY, 0x48000016u);
}
END_TEST

START_TEST(every_code_has_an_errno_and_a_name)
{
#define ROW(name, number, error)					\
	ck_assert_int_eq(wsa_error_to_errno(name), error);		\
	ck_assert_int_eq(name, number);					\
	ck_assert_str_eq(wsa_error_name(number), #name);
	WSA_ERROR_LIST(ROW)
#undef ROW
	ck_assert_int_eq(wsa_error_to_errno(0), 0);
	ck_assert_int_eq(wsa_error_to_errno(424242), EIO);
	ck_assert_str_eq(wsa_error_name(424242), "unknown WSA error");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("wsa_errno");
	TCase *tests = tcase_create("wsa_errno");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_test(tests, codes_have_the_numbers_of_windows);
	tcase_add_test(tests, every_code_has_an_errno_and_a_name);
	suite_add_tcase(suite, tests);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
