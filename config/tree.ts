/** A YAML document as plain data with positions, before anything in it is interpreted. */
import type { Path } from './fault.ts';

/** A position in the file; both count from 1. */
export interface Place {
  readonly line: number;
  readonly column: number;
}

export interface MapNode {
  readonly kind: 'map';
  readonly place: Place;
  readonly entries: ReadonlyMap<string, { readonly keyPlace: Place; readonly node: TreeNode }>;
}

export interface ListNode {
  readonly kind: 'list';
  readonly place: Place;
  readonly items: readonly TreeNode[];
}

export interface ScalarNode {
  readonly kind: 'scalar';
  readonly place: Place;
  /** As the core schema of YAML 1.2 reads it. */
  readonly value: string | number | boolean | null;
}

export type TreeNode = MapNode | ListNode | ScalarNode;

/** The node at `path`, or undefined when the file says nothing there. */
export function nodeAt(tree: TreeNode, path: Path): TreeNode | undefined {
  let node: TreeNode | undefined = tree;
  for (const step of path) {
    if (node === undefined) return undefined;
    if (node.kind === 'map') node = node.entries.get(String(step))?.node;
    else if (node.kind === 'list' && typeof step === 'number') node = node.items[step];
    else return undefined;
  }
  return node;
}

/** Where the key at the end of `path` is written; for list items, and for what is not in the file, the nearest place around it. */
export function keyPlaceAt(tree: TreeNode, path: Path): Place {
  let place = tree.place;
  let node: TreeNode | undefined = tree;
  for (const step of path) {
    if (node?.kind === 'map') {
      const entry = node.entries.get(String(step));
      if (entry === undefined) return place;
      place = entry.keyPlace;
      node = entry.node;
    } else if (node?.kind === 'list' && typeof step === 'number') {
      node = node.items[step];
      if (node === undefined) return place;
      place = node.place;
    } else {
      return place;
    }
  }
  return place;
}
