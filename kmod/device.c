// SPDX-License-Identifier: GPL-2.0-only
/*
 * /dev/wsdirect: the system calls, and loading and unloading.
 *
 * Only the address space that opened a context may use it: a forked child or an
 * executed image that inherited the descriptor gets EPERM and opens its own.
 */
#include <linux/compat.h>
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/uaccess.h>
#include <wsdirect.h>

#include "context.h"
#include "range.h"
#include "statistics.h"

static int device_open(struct inode *inode, struct file *file)
{
	struct wsdirect_context *context;

	if (!current->mm)
		return -EPERM;
	context = wsdirect_context_create(current->mm);
	if (IS_ERR(context))
		return PTR_ERR(context);
	file->private_data = context;
	return stream_open(inode, file);
}

static int device_release(struct inode *inode, struct file *file)
{
	wsdirect_context_destroy(file->private_data);
	return 0;
}

static long ioctl_hello(struct wsdirect_context *context, struct wsdirect_hello __user *argument)
{
	struct wsdirect_hello hello;
	int err = 0;

	if (copy_from_user(&hello, argument, sizeof(hello)))
		return -EFAULT;
	/* The version first: another one may give the other members a meaning. */
	if (hello.abi_version != WSDIRECT_ABI_VERSION) {
		hello.abi_version = WSDIRECT_ABI_VERSION;
		err = -EPROTONOSUPPORT;
	} else {
		if (hello.flags || hello.reserved)
			return -EINVAL;
		wsdirect_context_hello(context, &hello);
	}
	return copy_to_user(argument, &hello, sizeof(hello)) ? -EFAULT : err;
}

static long ioctl_unsecure(struct wsdirect_context *context,
			   const struct wsdirect_unsecure __user *argument)
{
	struct wsdirect_unsecure request;

	if (copy_from_user(&request, argument, sizeof(request)))
		return -EFAULT;
	if (request.reserved)
		return -EINVAL;
	return wsdirect_range_unsecure(context, &request);
}

static long device_ioctl(struct file *file, unsigned int command, unsigned long argument)
{
	struct wsdirect_context *context = file->private_data;
	void __user *pointer = (void __user *)argument;
	int err = wsdirect_context_check(context);

	switch (command) {
	case WSDIRECT_IOC_HELLO:
		return err == -EPERM ? err : ioctl_hello(context, pointer);
	case WSDIRECT_IOC_SECURE:
		return err ?: wsdirect_range_secure(context, pointer);
	case WSDIRECT_IOC_UNSECURE:
		return err ?: ioctl_unsecure(context, pointer);
	default:
		return -ENOTTY;
	}
}

static int device_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct wsdirect_context *context = file->private_data;

	return wsdirect_context_check(context) ?: wsdirect_context_mmap(context, vma);
}

static ssize_t device_read(struct file *file, char __user *buffer, size_t size, loff_t *position)
{
	struct wsdirect_context *context = file->private_data;
	int err = wsdirect_context_check(context);

	return err ?: wsdirect_event_read(context, buffer, size, file->f_flags & O_NONBLOCK);
}

static __poll_t device_poll(struct file *file, poll_table *table)
{
	return wsdirect_event_poll(file->private_data, file, table);
}

static const struct file_operations device_operations = {
	.owner = THIS_MODULE,	/* the module stays while a context or a mapping does */
	.open = device_open,
	.release = device_release,
	.unlocked_ioctl = device_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
	.mmap = device_mmap,
	.read = device_read,
	.poll = device_poll,
};

static struct miscdevice device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "wsdirect",
	.fops = &device_operations,
	.groups = wsdirect_statistics_groups,
	.mode = 0666,
};

static int __init device_init(void)
{
	int err = wsdirect_range_init();

	if (err)
		return err;
	err = misc_register(&device);
	if (err)
		wsdirect_range_exit();
	return err;
}

static void __exit device_exit(void)
{
	misc_deregister(&device);
	wsdirect_range_exit();
}

module_init(device_init);
module_exit(device_exit);

MODULE_DESCRIPTION("Windows Sockets Direct: tells a process when its registered memory changes");
MODULE_AUTHOR("The wsdirect developers");
MODULE_LICENSE("GPL");
MODULE_VERSION(__stringify(WSDIRECT_ABI_VERSION));
