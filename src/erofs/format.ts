/**
 * The numbers of the EROFS on-disk format (Linux: Documentation/filesystems/erofs.rst, fs/erofs/erofs_fs.h) and of composefs' use of it
 * (composefs: libcomposefs/lcfs-erofs.h). `docs/format.md` 4 says how an image is put together.
 */
export const BLOCK = 4096
/** Inodes lie on multiples of 32 bytes; their number is the offset divided by it. */
export const SLOT = 32
export const COMPACT_INODE = 32
export const EXTENDED_INODE = 64
export const XATTR_HEADER = 12
export const NAME_BYTES_MAX = 255
export const SYMLINK_BYTES_MAX = 4095
/** composefs puts no larger file into an image. */
export const CONTENT_BYTES_MAX = 5000

export const COMPOSEFS_MAGIC = 0xd078629a
export const COMPOSEFS_HEADER_VERSION = 1
export const COMPOSEFS_FLAG_ACL = 1
export const SUPERBLOCK = 1024
export const SUPERBLOCK_BYTES = 128
export const EROFS_MAGIC = 0xe0f5e1e2
/** MTIME and XATTR_FILTER, the two compatible features that composefs sets. */
export const EROFS_COMPATIBLE = 6
export const BLOCK_BITS = 12

/** Offsets in the superblock. */
export const AT = {
  magic: SUPERBLOCK,
  compatible: SUPERBLOCK + 8,
  blockBits: SUPERBLOCK + 12,
  root: SUPERBLOCK + 14,
  inodes: SUPERBLOCK + 16,
  seconds: SUPERBLOCK + 24,
  nanoseconds: SUPERBLOCK + 32,
  blocks: SUPERBLOCK + 36,
  metaBlock: SUPERBLOCK + 40,
  xattrBlock: SUPERBLOCK + 44,
} as const

/** Where an inode's data are: in blocks, in blocks with the tail behind the inode, or elsewhere (an object). */
export const LAYOUT = { plain: 0, inline: 2, chunks: 4 } as const
export const CHUNK_BITS_MAX = 31
export const NO_CHUNK = 0xffffffff
export const XATTRS_SHARED_MAX = 128

/** File types as in st_mode >> 12. */
export const TYPE = { fifo: 1, character: 2, directory: 4, block: 6, regular: 8, symlink: 10, socket: 12 } as const
/** The type byte of a directory entry, by st_mode >> 12. */
export const DIRENT_TYPE: readonly number[] = [0, 5, 3, 0, 2, 0, 4, 0, 1, 0, 7, 0, 6, 0, 0, 0]
/** Bytes of a directory entry without its name. */
export const DIRENT = 12
export const DT = { regular: 1, directory: 2, character: 3, block: 4, fifo: 5, socket: 6, symlink: 7 } as const
